// Makes the calls of @openmeter/sdk about billing profiles and overrides, and installs an app that needs no key, against
// TALLYMARK_URL with the key TALLYMARK_KEY. Prints what sdk.mjs says.
import { baseUrl, call, openmeter, refused, same, seen } from './sdk.mjs'

const key = process.env.TALLYMARK_KEY
const customer = await openmeter.customers.create({ key: 'js-billed', name: 'Customer', primaryEmail: 'js@example.com' })
const installed = await call('install an app that needs no key', async () => {
  const answer = await fetch(`${baseUrl}/api/v1/marketplace/listings/custom_invoicing/install`, {
    method: 'POST', body: JSON.stringify({ name: 'From the SDK', createBillingProfile: false }),
    headers: { 'content-type': 'application/json', ...(key ? { authorization: `Bearer ${key}` } : {}) },
  })
  return [answer.status, await answer.json()]
}, ([status, a]) => same([status, a.app.type, a.app.name, a.defaultForCapabilityTypes],
  [200, 'custom_invoicing', 'From the SDK', []]))
const app = installed?.[1].app.id
const apps = { tax: app, invoicing: app, payment: app }

const body = {
  name: 'From the SDK', supplier: { name: 'Us', taxId: { code: 'DE1' }, addresses: [{ country: 'DE', city: 'Berlin' }] },
  default: false, metadata: null,
  workflow: {
    collection: { alignment: { type: 'subscription' }, interval: 'PT2H' },
    invoicing: { autoAdvance: false, draftPeriod: 'P1D', dueAfter: 'P14D', progressiveBilling: true },
    payment: { collectionMethod: 'charge_automatically' },
    tax: { enabled: true, enforced: false },
  },
}
const profile = await call('billing.profiles.create', (o) => o.billing.profiles.create({ ...body, apps }),
  (p) => same([p.name, p.default, p.workflow.invoicing.dueAfter, p.apps.payment, p.createdAt instanceof Date],
    ['From the SDK', false, 'P14D', { id: app }, true]))
const id = profile?.id
await call('billing.profiles.get', (o) => o.billing.profiles.get(id),
  (p) => same([p.id, p.supplier.addresses[0].city], [id, 'Berlin']))
await call('billing.profiles.list', (o) => o.billing.profiles.list({ expand: ['apps'], orderBy: 'name', pageSize: 10 }),
  (page) => same(page.items.map((p) => [p.name, p.default, p.apps.tax.type]),
    [['From the SDK', false, 'custom_invoicing'], ['openmeter-sandbox', true, 'sandbox']]))
await call('billing.profiles.update',
  (o) => o.billing.profiles.update(id, { ...body, description: 'Changed', workflow: profile.workflow }),
  (p) => same([p.description, p.apps.tax.id, p.workflow.collection.interval], ['Changed', app, 'PT2H']))
await call('billing.profiles.delete', (o) => refused(o.billing.profiles.list().then(
  (page) => o.billing.profiles.delete(page.items.find((p) => p.default).id))),
  (status) => same([status, JSON.parse(seen.text).reason], [400, 'default_profile_cannot_be_deleted']))

await call('billing.customers.getOverride', (o) => o.billing.customers.getOverride(customer.id),
  (o) => same([o.customerOverride === undefined, o.customerProfile.supplier.name], [true, 'openmeter-sandbox']))
await call('billing.customers.createOverride',
  (o) => o.billing.customers.createOverride(customer.id, { billingProfileId: id }),
  (o) => same([o.customerOverride.billingProfileId, o.baseBillingProfileId, o.customerProfile.workflow.invoicing.dueAfter],
    [id, id, 'P14D']))
await call('billing.customers.listOverrides', (o) => o.billing.customers.listOverrides({
  billingProfile: [id], includeAllCustomers: false, expand: ['customer', 'apps'], customerName: 'cust',
}), (page) => same(page.items.map((o) => [o.customer.key, o.customerProfile.apps.invoicing.name]),
  [['js-billed', 'From the SDK']]))
await call('billing.profiles.delete', (o) => refused(o.billing.profiles.delete(id)),
  (status) => same([status, JSON.parse(seen.text).reason], [400, 'profile_referenced']))
await call('billing.customers.deleteOverride', async (o) => {
  await o.billing.customers.deleteOverride(customer.id)
  return (await o.billing.customers.getOverride(customer.id)).customerOverride === undefined
}, (gone) => same(gone, true))
await call('billing.profiles.delete', async (o) => {
  await o.billing.profiles.delete(id)
  const shown = await o.billing.profiles.list({ includeArchived: true })
  return shown.items.filter((p) => p.deletedAt instanceof Date).map((p) => p.id)
}, (ids) => same(ids, [id]))
await openmeter.apps.uninstall(app)
await openmeter.customers.delete('js-billed')
