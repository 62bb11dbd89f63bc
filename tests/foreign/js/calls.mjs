// Makes every call of @openmeter/sdk against TALLYMARK_URL with the key TALLYMARK_KEY; those that have a program of
// their own are only tried. Prints what sdk.mjs says.
import { OpenMeter as Portal } from '@openmeter/sdk/portal'
import { OpenMeterProvider, useOpenMeter } from '@openmeter/sdk/react'
import { createElement } from 'react'
import { renderToString } from 'react-dom/server'
import { baseUrl, call, called, fetchAndKeep, methods, openmeter, same, say, seen } from './sdk.mjs'

const from = new Date(Date.now() - 3600_000)
const to = new Date(Date.now() + 3600_000)
const slug = 'foreign_js'
const event = (number, model) => ({
  id: `js-${number}`,
  source: 'foreign',
  type: 'foreign-js',
  subject: number % 2 ? 'js-a' : 'js-b',
  data: { tokens: number, model },
})

await call('meters.create', (o) => o.meters.create({
  slug, name: 'Foreign', eventType: 'foreign-js', aggregation: 'SUM', valueProperty: '$.tokens',
  groupBy: { model: '$.model' },
}), (m) => same([m.slug, m.aggregation, m.createdAt instanceof Date], [slug, 'SUM', true]))
await call('meters.get', (o) => o.meters.get(slug), (m) => same(m.slug, slug))
await call('meters.list', (o) => o.meters.list(), (ms) => same(ms.map((m) => m.slug).includes(slug), true))
await call('meters.update', (o) => o.meters.update(slug, { name: 'Changed', groupBy: { model: '$.model' } }),
  (m) => same(m.name, 'Changed'))

await call('events.ingest', async (o) => {
  await o.events.ingest(event(1, 'large'))
  return o.events.ingest([event(2, 'small'), event(3, 'small'), event(3, 'small')])
}, (nothing) => same(nothing ?? null, null))

// Counted soon, not at once.
let rows = []
for (let tries = 0; tries < 2400 && rows[0]?.value !== 6; tries++) {
  await new Promise((done) => setTimeout(done, 100))
  rows = (await openmeter.meters.query(slug, { from, to })).data
}
await call('meters.query', (o) => o.meters.query(slug, {
  from, to, windowSize: 'DAY', windowTimeZone: 'Europe/Berlin', subject: ['js-a', 'js-b'], groupBy: ['model'],
  filterGroupBy: { model: 'small' },
}), (a) => same(
  [a.data.map((r) => [r.subject, r.groupBy.model, r.value]), a.windowSize, a.data[0].windowStart instanceof Date],
  [[['js-a', 'small', 3], ['js-b', 'small', 2]], 'DAY', true]))
await call('meters.queryPost', (o) => o.meters.queryPost(slug, {
  from, to, advancedMeterGroupByFilters: { model: { $like: 'lar%' } },
}), (a) => same(a.data.map((r) => [r.subject, r.value]), [[null, 1]]))
await call('meters.listGroupByValues', (o) => o.meters.listGroupByValues(slug, 'model', { from }),
  (values) => same(values, ['large', 'small']))
await call('events.list', async (o) => {
  for (let tries = 0; tries < 2400; tries++) {
    const found = await o.events.list({ id: 'js-', from, limit: 10 })
    if (found.length === 4) return found
    await new Promise((done) => setTimeout(done, 100))
  }
  return []
}, (es) => same(
  [es.map((e) => e.event.id).sort(), es[0]?.ingestedAt instanceof Date, es[0]?.storedAt instanceof Date],
  [['js-1', 'js-2', 'js-3', 'js-3'], true, true]))
await call('events.listV2', async (o) => {
  const filter = JSON.stringify({ type: { $eq: 'foreign-js' }, subject: { $in: ['js-a'] } })
  const first = await o.events.listV2({ filter, limit: 2 })
  const second = await o.events.listV2({ filter, limit: 2, cursor: first.nextCursor })
  return [...first.items, ...second.items]
}, (items) => same(items.map((e) => e.event.id).sort(), ['js-1', 'js-3', 'js-3']))

await call('subjects.upsert', (o) => o.subjects.upsert([{ key: 'js-a', displayName: 'A' }, { key: 'js-b' }]),
  (ss) => same(ss.map((s) => s.key), ['js-a', 'js-b']))
await call('subjects.get', (o) => o.subjects.get('js-a'), (s) => same(s.displayName, 'A'))
await call('subjects.list', (o) => o.subjects.list(),
  (ss) => same(ss.map((s) => s.key).filter((key) => key.startsWith('js-')), ['js-a', 'js-b']))

const customer = await call('customers.create', (o) => o.customers.create({
  key: 'js-customer', name: 'Customer', usageAttribution: { subjectKeys: ['js-a', 'js-b'] },
  primaryEmail: 'a@example.com', currency: 'EUR', metadata: { tier: 'gold' },
}), (c) => same([c.key, c.usageAttribution.subjectKeys], ['js-customer', ['js-a', 'js-b']]))
await call('customers.get', (o) => o.customers.get('js-customer'), (c) => same(c.id, customer?.id))
await call('customers.list', (o) => o.customers.list({ page: 1, pageSize: 10, key: 'js-customer' }),
  (page) => same([page.totalCount, page.items[0]?.id], [1, customer?.id]))
await call('customers.update', (o) => o.customers.update(customer?.id, {
  name: 'Renamed', key: 'js-customer', usageAttribution: { subjectKeys: ['js-a'] },
}), (c) => same([c.name, c.usageAttribution.subjectKeys], ['Renamed', ['js-a']]))
await call('meters.query', (o) => o.meters.query(slug, { from, to, filterCustomerId: [customer?.id] }),
  (a) => same(a.data.map((r) => [r.customerId, r.value]), [[customer?.id, 4]]))

const feature = await call('features.create', (o) => o.features.create({
  key: 'js_feature', name: 'Feature', meterSlug: slug, meterGroupByFilters: { model: 'small' },
}), (f) => same([f.key, f.meterSlug], ['js_feature', slug]))
await call('features.get', (o) => o.features.get('js_feature'), (f) => same(f.id, feature?.id))
await call('features.list', (o) => o.features.list({ page: 1, pageSize: 10, meterSlug: [slug] }),
  (page) => same((page.items ?? page).map((f) => f.key), ['js_feature']))
const planFee = {
  type: 'flat_fee', key: 'js_fee', name: 'Fee', billingCadence: 'P1M',
  price: { type: 'flat', amount: '20.50', paymentTerm: 'in_advance' },
}
const planUsage = {
  type: 'usage_based', key: 'js_feature', name: 'Usage', featureKey: 'js_feature', billingCadence: 'P1M',
  price: {
    type: 'tiered', mode: 'graduated',
    tiers: [
      { upToAmount: '1000', flatPrice: null, unitPrice: { type: 'unit', amount: '0.01' } },
      { flatPrice: { type: 'flat', amount: '5' }, unitPrice: null },
    ],
  },
  entitlementTemplate: { type: 'metered', issueAfterReset: 100 },
  discounts: { percentage: { percentage: 12.5 } },
}
const planBody = {
  name: 'Foreign plan', description: 'd', metadata: { a: 'b' }, billingCadence: 'P1M',
  phases: [
    { key: 'trial', name: 'Trial', duration: 'P1M', rateCards: [{ ...planFee, price: null }] },
    { key: 'paid', name: 'Paid', duration: null, rateCards: [planFee, planUsage] },
  ],
}
const addonBody = { name: 'Foreign add-on', instanceType: 'multiple', rateCards: [{ ...planFee, key: 'js_more' }] }

const addon = await call('addons.create', (o) => o.addons.create({ ...addonBody, key: 'js_addon', currency: 'EUR' }),
  (a) => same([a.key, a.version, a.status, a.validationErrors], ['js_addon', 1, 'draft', []]))
await call('addons.update', (o) => o.addons.update(addon?.id, { ...addonBody, name: 'More' }),
  (a) => same([a.name, a.currency], ['More', 'EUR']))
await call('addons.publish', (o) => o.addons.publish(addon?.id),
  (a) => same([a.status, a.effectiveFrom instanceof Date], ['active', true]))
await call('addons.get', (o) => o.addons.get('js_addon'), (a) => same(a.id, addon?.id))
await call('addons.list', (o) => o.addons.list({ key: ['js_addon'], status: ['active'], currency: ['EUR'] }),
  (page) => same([page.totalCount, page.items[0]?.rateCards[0].price.amount], [1, '20.5']))

const plan = await call('plans.create', (o) => o.plans.create({ ...planBody, key: 'js_plan', currency: 'EUR' }),
  (p) => same(
    [p.key, p.version, p.status, p.validationErrors, p.createdAt instanceof Date, p.settlementMode, p.proRatingConfig,
      p.phases[1].rateCards[1].entitlementTemplate.issueAfterReset,
      p.phases[1].rateCards[1].discounts.percentage.percentage, p.phases[0].rateCards[0].price],
    ['js_plan', 1, 'draft', [], true, 'credit_then_invoice', { enabled: true, mode: 'prorate_prices' }, 100, 12.5, null]))
await call('plans.update', (o) => o.plans.update(plan?.id, { ...planBody, name: 'Renamed' }),
  (p) => same([p.name, p.key, p.currency], ['Renamed', 'js_plan', 'EUR']))
await call('plans.addons.create',
  (o) => o.plans.addons.create(plan?.id, { addonId: addon?.id, fromPlanPhase: 'paid', maxQuantity: 3 }),
  (a) => same([a.addon.key, a.fromPlanPhase, a.maxQuantity, a.validationErrors], ['js_addon', 'paid', 3, []]))
await call('plans.addons.get', (o) => o.plans.addons.get(plan?.id, addon?.id), (a) => same(a.addon.id, addon?.id))
await call('plans.addons.list', (o) => o.plans.addons.list(plan?.id, { key: ['js_addon'] }),
  (page) => same([page.totalCount, page.items[0]?.addon.key], [1, 'js_addon']))
await call('plans.addons.update', (o) => o.plans.addons.update(plan?.id, addon?.id, { fromPlanPhase: 'trial' }),
  (a) => same([a.fromPlanPhase, a.maxQuantity ?? null], ['trial', null]))
await call('plans.publish', (o) => o.plans.publish(plan?.id),
  (p) => same([p.status, p.effectiveFrom instanceof Date], ['active', true]))
await call('plans.get', async (o) => {
  const missing = await o.plans.get('js_other').then(() => null, (error) => error.status)
  return [(await o.plans.get('js_plan')).id, (await o.plans.get(plan?.id, { includeLatest: true })).version, missing]
}, (found) => same(found, [plan?.id, 1, 404]))
await call('plans.list', (o) => o.plans.list({
  key: ['js_plan'], status: ['active', 'draft'], currency: ['EUR'], keyVersion: { js_plan: 1 }, orderBy: 'version',
  order: 'DESC', page: 1, pageSize: 10,
}), (page) => same([page.totalCount, page.items.map((p) => p.version)], [1, [1]]))
await call('plans.archive', (o) => o.plans.archive(plan?.id),
  (p) => same([p.status, p.effectiveTo instanceof Date], ['archived', true]))
await call('plans.addons.delete', async (o) => {
  await o.plans.addons.delete(plan?.id, addon?.id)
  return (await o.plans.addons.list(plan?.id)).totalCount
}, (count) => same(count, 0))
await call('plans.delete', async (o) => {
  await o.plans.delete(plan?.id)
  return (await o.plans.list({ key: ['js_plan'] })).totalCount
}, (count) => same(count, 0))
await call('addons.archive', (o) => o.addons.archive(addon?.id), (a) => same(a.status, 'archived'))
await call('addons.delete', async (o) => {
  await o.addons.delete(addon?.id)
  return (await o.addons.list({ key: ['js_addon'] })).totalCount
}, (count) => same(count, 0))
await call('a plan that cannot be published lists codes', async (o) => {
  const draft = await o.plans.create({ ...planBody, key: 'js_wrong', currency: 'EUR', phases: [] })
  const refused = await o.plans.publish(draft.id).then(() => null, () => JSON.parse(seen.text))
  await o.plans.delete(draft.id)
  return [draft.validationErrors.map((e) => e.code), refused?.extensions.validationErrors.map((e) => [e.code, e.field])]
}, (found) => same(found, [['plan_with_no_phases'], [['plan_with_no_phases', '$.phases']]]))
await call('info.listCurrencies', (o) => o.info.listCurrencies(),
  (cs) => same(cs.find((c) => c.code === 'JPY'), { code: 'JPY', name: 'Japanese Yen', symbol: '¥', subunits: 0 }))
await call('info.getProgress', async (o) => {
  await o.meters.create({ slug: 'js_late', eventType: 'foreign-js', aggregation: 'COUNT' })
  for (let tries = 0; tries < 2400; tries++) {
    const found = await o.info.getProgress('js_late').catch(() => null)
    if (found !== null) return found
    await new Promise((done) => setTimeout(done, 100))
  }
  return null
}, (p) => same([typeof p?.success, p?.failed, typeof p?.total, p?.updatedAt instanceof Date], ['number', 0, 'number', true]))
await call('debug.getMetrics', (o) => o.debug.getMetrics({ parseAs: 'text' }),
  (text) => same([text.startsWith('# TYPE openmeter_events counter'), text.includes('{subject="js-a"} '),
    text.endsWith('# EOF\n')], [true, true, true]))
await openmeter.meters.delete('js_late')
await call('features.delete', (o) => o.features.delete(feature?.id))

const token = await call('portal.create', (o) => o.portal.create({ subject: 'js-a', allowedMeterSlugs: [slug] }),
  (t) => same([t.subject, typeof t.token, t.expiresAt instanceof Date], ['js-a', 'string', true]))
const portal = new Portal({ baseUrl, portalToken: token?.token, fetch: fetchAndKeep })
await call('portal client: query', () => portal.query(slug, { from, to }),
  (a) => same(a.data.map((r) => [r.subject, r.value]), [['js-a', 4]]))
let given = null
const Child = () => { given = useOpenMeter(); return 'x' }
renderToString(createElement(OpenMeterProvider, { value: portal }, createElement(Child)))
await call('react provider: query', () => given.query(slug, { from, to, windowSize: 'DAY' }),
  (a) => same(a.data.map((r) => r.value), [4]))
await call('portal.list', (o) => o.portal.list({ limit: 10 }),
  (ts) => same(ts.some((t) => t.id === token?.id), true))
await call('portal.invalidate', async (o) => {
  await o.portal.invalidate({ subject: 'js-a' })
  for (let tries = 0; tries < 2400; tries++) {
    if (await portal.query(slug).then(() => false, (error) => error.statusCode === 401 || seen.status === 401)) return 401
    await new Promise((done) => setTimeout(done, 100))
  }
  return 'still open'
}, (status) => same(status, 401))

await call('errors are problems', async (o) => o.meters.get('no_such_meter').then(() => null, (error) => error),
  (error) => same([error?.name, error?.status ?? error?.statusCode ?? seen.status], ['HTTPError', 404]))
await call('customers.delete', (o) => o.customers.delete('js-customer'))
await call('subjects.delete', async (o) => {
  await o.subjects.delete('js-a')
  return o.subjects.delete('js-b')
})
await call('meters.delete', (o) => o.meters.delete(slug))

// All that the client has and that was not asked above: is there a route?
for (const name of methods) {
  if (called.has(name)) continue
  const path = name.split('.')
  const method = path.pop()
  const owner = path.reduce((from, member) => from[member], openmeter)
  Object.assign(seen, { status: 0, text: '' })
  const ids = Array.from({ length: owner[method].length - 1 }, () => 'x')
  let problem = ''
  try { await owner[method](...ids) } catch (error) { problem = error.message }
  if (seen.status === 405 || (seen.status === 404 && seen.text.includes(': Not Found.'))) say(name, 'absent')
  else say(name, seen.status ? 'answers' : 'fails', seen.status ? String(seen.status) : problem)
}
