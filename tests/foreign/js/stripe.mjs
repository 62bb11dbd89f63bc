// Makes the calls of @openmeter/sdk about Stripe apps against TALLYMARK_URL with the key TALLYMARK_KEY, where
// STRIPE_KEY opens an account that has the customer STRIPE_CUSTOMER. Prints what sdk.mjs says.
import { call, openmeter, refused, same, seen } from './sdk.mjs'

const apiKey = process.env.STRIPE_KEY
const stripeCustomerId = process.env.STRIPE_CUSTOMER
const customer = await openmeter.customers.create({ key: 'js-stripe', name: 'Customer' })

await call('apps.marketplace.list', (o) => o.apps.marketplace.list(),
  (page) => same(page.items.map((one) => [one.type, one.installMethods[0]]), [
    ['custom_invoicing', 'no_credentials_required'], ['sandbox', 'no_credentials_required'], ['stripe', 'with_api_key'],
  ]))
await call('apps.marketplace.get', (o) => o.apps.marketplace.get('stripe'),
  (one) => same(one.capabilities.map((c) => c.type),
    ['reportUsage', 'calculateTax', 'invoiceCustomers', 'collectPayments']))
const installed = await call('apps.marketplace.installWithAPIKey',
  (o) => o.apps.marketplace.installWithAPIKey('stripe', { apiKey, name: 'From the SDK' }),
  (a) => same([a.app.name, a.app.status, a.app.livemode, a.app.createdAt instanceof Date, a.defaultForCapabilityTypes],
    ['From the SDK', 'ready', false, true, []]))
const id = installed?.app.id
await call('apps.marketplace.installWithAPIKey',
  (o) => refused(o.apps.marketplace.installWithAPIKey('stripe', { apiKey: 'sk_test_wrong' })),
  (status) => same([status, seen.text.includes('Invalid API Key')], [400, true]))
await call('apps.marketplace.getOauth2InstallUrl', (o) => refused(o.apps.marketplace.getOauth2InstallUrl('stripe')),
  (status) => same(status, 501))
await call('apps.marketplace.authorizeOauth2',
  (o) => refused(o.apps.marketplace.authorizeOauth2('stripe', { state: 'a', code: 'b' })), (status) => same(status, 501))
await call('apps.list', (o) => o.apps.list({ page: 1, pageSize: 10 }), 
  (page) => same(page.items.filter((a) => a.type === 'stripe').map((a) => a.id), [id]))
await call('apps.get', (o) => o.apps.get(id), (a) => same([a.id, JSON.stringify(a).includes(apiKey)], [id, false]))
await call('apps.update', (o) => o.apps.update(id, {
  type: 'stripe', name: 'Renamed', metadata: { team: 'billing' }, secretAPIKey: apiKey,
}), (a) => same([a.name, a.metadata], ['Renamed', { team: 'billing' }]))
await call('apps.stripe.updateApiKey', async (o) => {
  await o.apps.stripe.updateApiKey(id, { secretAPIKey: apiKey })
  return seen.status
}, (status) => same(status, 204))
await call('customers.stripe.upsert', (o) => o.customers.stripe.upsert('js-stripe', { stripeCustomerId }),
  (data) => same([data.type, data.id, data.stripeCustomerId, data.app.id], ['stripe', id, stripeCustomerId, id]))
await call('customers.stripe.get', (o) => o.customers.stripe.get(customer.id),
  (data) => same(data.stripeCustomerId, stripeCustomerId))
await call('customers.stripe.upsert',
  (o) => refused(o.customers.stripe.upsert('js-stripe', { stripeCustomerId: 'cus_nothing' })),
  (status) => same(status, 400))
await call('customers.apps.upsert', (o) => o.customers.apps.upsert('js-stripe', [
  { type: 'stripe', id, stripeCustomerId, stripeDefaultPaymentMethodId: 'pm_1' },
]), (all) => same(all.map((one) => one.stripeDefaultPaymentMethodId), ['pm_1']))
await call('customers.apps.list', (o) => o.customers.apps.list('js-stripe', { type: 'stripe' }),
  (page) => same([page.totalCount, page.items[0]?.stripeCustomerId], [1, stripeCustomerId]))
await call('apps.stripe.createCheckoutSession', (o) => o.apps.stripe.createCheckoutSession({
  customer: { id: customer.id }, options: { successURL: 'https://us.example/done', metadata: { from: 'sdk' } },
}), (s) => same([s.customerId, s.stripeCustomerId, s.mode, s.createdAt instanceof Date, s.metadata, !!s.url],
  [customer.id, stripeCustomerId, 'setup', true, { from: 'sdk' }, true]))
await call('apps.stripe.createCheckoutSession',
  (o) => refused(o.apps.stripe.createCheckoutSession({ customer: { key: 'js-stripe' }, options: {} })),
  (status) => same(status, 400))
await call('customers.stripe.createPortalSession',
  (o) => o.customers.stripe.createPortalSession('js-stripe', { returnUrl: 'https://us.example' }),
  (s) => same([s.stripeCustomerId, s.returnUrl, s.createdAt instanceof Date, !!s.url],
    [stripeCustomerId, 'https://us.example', true, true]))
await call('customers.apps.delete', async (o) => {
  await o.customers.apps.delete('js-stripe', id)
  return o.customers.apps.list('js-stripe')
}, (page) => same(page.totalCount, 0))
await call('apps.uninstall', async (o) => {
  await o.apps.uninstall(id)
  return o.apps.list()
}, (page) => same(page.items.filter((a) => a.type === 'stripe'), []))
await openmeter.customers.delete('js-stripe')
