// Makes the calls of @openmeter/sdk about entitlements and grants against TALLYMARK_URL with the key TALLYMARK_KEY.
// Prints what sdk.mjs says. Needs a whole stack: balances are counted by its stages.
import { call, nothing, openmeter, same, soon } from './sdk.mjs'

const hour = 3600_000
const from = new Date(Math.floor(Date.now() / hour) * hour - 24 * hour)
const usagePeriod = { interval: 'MONTH', anchor: from }
const grant = { amount: 50, priority: 1, effectiveAt: new Date(), expiration: { duration: 'MONTH', count: 1 } }
// Measured from yesterday: usage is reset once a minute at most.
const metered = { type: 'metered', featureKey: 'js_quota', usagePeriod, issueAfterReset: 100, measureUsageFrom: from }
const meter = { slug: 'js_quota', eventType: 'js-quota', aggregation: 'SUM', valueProperty: '$.n' }
await openmeter.meters.create(meter)
await openmeter.features.create({ key: 'js_quota', name: 'Quota', meterSlug: 'js_quota' })
await openmeter.features.create({ key: 'js_sso', name: 'SSO' })
for (const key of ['js-quota', 'js-older']) {
  await openmeter.customers.create({ key, name: key, usageAttribution: { subjectKeys: [`${key}-subject`] } })
}
const customer = 'js-quota', subject = 'js-older-subject'
const ids = (page) => page.items.map((one) => one.id)
const grants = (all) => (all.items ?? all).filter((one) => !one.issuedAfterReset).map((one) => one.id)

const one = await call('customers.entitlements.create', (o) => o.customers.entitlements.create(customer, metered),
  (e) => same([e.type, e.featureKey, e.createdAt instanceof Date], ['metered', 'js_quota', true]))
await openmeter.customers.entitlements.create(customer, { type: 'boolean', featureKey: 'js_sso' })
await call('customers.entitlements.get', (o) => o.customers.entitlements.get(customer, 'js_quota'),
  (e) => same(e.id, one.id))
await call('customers.entitlements.list', (o) => o.customers.entitlements.list(customer),
  (page) => same([page.totalCount, ids(page).includes(one.id)], [2, true]))
await call('entitlements.list',
  (o) => o.entitlements.list({ query: { feature: ['js_quota'], customerKeys: [customer], entitlementType: ['metered'] } }),
  (page) => same(ids(page), [one.id]))
await call('entitlements.get', (o) => o.entitlements.get(one.id), (e) => same(e.id, one.id))
const given = await call('customers.entitlements.createGrant',
  (o) => o.customers.entitlements.createGrant(customer, 'js_quota', grant),
  (g) => same([g.amount, g.priority, g.effectiveAt instanceof Date], [50, 1, true]))
await call('customers.entitlements.listGrants', (o) => o.customers.entitlements.listGrants(customer, 'js_quota'),
  (page) => same(grants(page), [given.id]))
await call('entitlements.grants.list', (o) => o.entitlements.grants.list({ query: { customer: [customer] } }),
  (page) => same(grants(page), [given.id]))
await openmeter.events.ingest({
  id: 'quota-1', source: 'foreign', type: 'js-quota', subject: 'js-quota-subject', data: { n: 30 },
})
const counted = (value) => value.usage === 30 && value.balance === 120
await call('customers.entitlements.value',
  (o) => soon(() => o.customers.entitlements.value(customer, 'js_quota'), counted),
  (v) => same([v.hasAccess, v.usage, v.balance, v.overage], [true, 30, 120, 0]))
await call('customers.entitlementsV1.value', (o) => o.customers.entitlementsV1.value(customer, 'js_quota'),
  (v) => same([v.hasAccess, v.balance], [true, 120]))
await call('customers.getAccess', (o) => o.customers.getAccess(customer),
  (a) => same([a.entitlements.js_quota?.balance, a.entitlements.js_sso?.hasAccess], [120, true]))
// A history is read from the stored events, which follow the balance; the hour may have ended meanwhile.
const used = (h) => h.windowedHistory.reduce((sum, window) => sum + window.usage, 0)
await call('customers.entitlements.history',
  (o) => soon(() => o.customers.entitlements.history(customer, 'js_quota', 'HOUR'), (h) => used(h) === 30),
  (h) => same([h.windowedHistory.length > 0, h.burndownHistory.length > 0, used(h)], [true, true, 30]))
await call('entitlements.grants.void', (o) => o.entitlements.grants.void(given.id), nothing)
await call('customers.entitlements.override', (o) => o.customers.entitlements.override(customer, 'js_quota',
  { ...metered, issueAfterReset: 200 }), (e) => same([e.issueAfterReset ?? e.issue?.amount, e.id === one.id], [200, false]))
await call('customers.entitlements.resetUsage', (o) => o.customers.entitlements.resetUsage(customer, 'js_quota', {}), nothing)
await call('customers.entitlements.delete', (o) => o.customers.entitlements.delete(customer, 'js_quota'), nothing)

const older = await call('entitlementsV1.create', (o) => o.entitlementsV1.create(subject, metered),
  (e) => same([e.type, e.subjectKey, e.createdAt instanceof Date], ['metered', subject, true]))
await call('entitlementsV1.get', (o) => o.entitlementsV1.get(older.id), (e) => same(e.id, older.id))
await call('entitlementsV1.list', (o) => o.entitlementsV1.list({ subject: [subject] }),
  (all) => same((all.items ?? all).map((e) => e.id), [older.id]))
const first = await call('entitlementsV1.grants.create', (o) => o.entitlementsV1.grants.create(subject, 'js_quota', grant),
  (g) => same(g.amount, 50))
await call('entitlementsV1.grants.list', (o) => o.entitlementsV1.grants.list(subject, 'js_quota'),
  (all) => same(grants(all), [first.id]))
await call('entitlementsV1.grants.listAll', (o) => o.entitlementsV1.grants.listAll({ subject: [subject] }),
  (all) => same(grants(all), [first.id]))
await call('entitlementsV1.value',
  (o) => soon(() => o.entitlementsV1.value(subject, 'js_quota'), (value) => value.balance === 150),
  (v) => same([v.hasAccess, v.usage, v.balance], [true, 0, 150]))
await call('entitlementsV1.history', (o) => o.entitlementsV1.history(subject, 'js_quota', { windowSize: 'HOUR' }),
  (h) => same([h.windowedHistory.length > 0, h.burndownHistory.length > 0], [true, true]))
await call('entitlementsV1.grants.void', (o) => o.entitlementsV1.grants.void(first.id), nothing)
await call('entitlementsV1.reset', (o) => o.entitlementsV1.reset(subject, 'js_quota', { retainAnchor: true }), nothing)
await call('entitlementsV1.override',
  (o) => o.entitlementsV1.override(subject, 'js_quota', { ...metered, issueAfterReset: 300 }),
  (e) => same(e.id === older.id, false))
await call('entitlementsV1.delete', (o) => o.entitlementsV1.delete(subject, 'js_quota'), nothing)
