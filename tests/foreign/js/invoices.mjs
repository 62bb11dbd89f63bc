// Makes the calls of @openmeter/sdk about invoices and custom invoicing against TALLYMARK_URL with the key
// TALLYMARK_KEY. Prints what sdk.mjs says.
import { call, openmeter, post, reasonOf, same, seen, soon } from './sdk.mjs'

const state = (invoice) => invoice?.statusDetails.extendedStatus
const until = (id, wanted) => soon(() => openmeter.billing.invoices.get(id), (invoice) => state(invoice) === wanted)

const { app } = await post('/api/v1/marketplace/listings/custom_invoicing/install',
  { name: 'ERP', createBillingProfile: false })
await openmeter.apps.update(app.id,
  { type: 'custom_invoicing', name: 'ERP', enableDraftSyncHook: true, enableIssuingSyncHook: true })
// Lines are due at once; the clock of the stage would invoice them before this program does, were it not for the anchor.
const dayMs = 24 * 3600_000
const anchor = new Date(Date.now() + dayMs)
const profile = await openmeter.billing.profiles.create({
  name: 'From the SDK', supplier: { name: 'Us' }, default: false,
  workflow: {
    invoicing: { autoAdvance: false },
    collection: { alignment: { type: 'anchored', recurringPeriod: { interval: 'P1Y', anchor } } },
  },
  apps: { tax: app.id, invoicing: app.id, payment: app.id },
})
const customer = await openmeter.customers.create({ key: 'js-invoices', name: 'Invoices' })
await openmeter.billing.customers.createOverride(customer.id, { billingProfileId: profile.id })

const period = { from: new Date('2026-01-01T00:00:00Z'), to: new Date('2026-02-01T00:00:00Z') }
const fee = (name, amount) =>
  ({ name, period, invoiceAt: new Date(Date.now() - dayMs), rateCard: { price: { type: 'flat', amount } } })
await call('billing.invoices.createLineItems', (o) => o.billing.invoices.createLineItems(customer.id,
  { currency: 'EUR', lines: [fee('Set-up', '250'), fee('Support', '100')] }),
  (a) => same([a.lines.map((l) => [l.name, l.period.from instanceof Date]), a.invoice.status, a.isInvoiceNew],
    [[['Set-up', true], ['Support', true]], 'gathering', true]))
await call('billing.invoices.simulate', (o) => o.billing.invoices.simulate(customer.id,
  { currency: 'EUR', lines: [{ ...fee('Set-up', '250'), quantity: '1' }] }),
  (i) => same([i.number, i.totals.total, state(i)], ['INV-SIMULATED', '250', 'draft.created']))
const [draft] = await call('billing.invoices.invoicePendingLines',
  (o) => o.billing.invoices.invoicePendingLines({ customerId: customer.id }),
  (is) => same([is.length, is[0].status, is[0].lines.length, is[0].workflow.apps.invoicing.id],
    [1, 'draft', 2, app.id])) ?? []
const id = draft?.id
await call('billing.invoices.list', (o) => o.billing.invoices.list({
  customers: [customer.id], statuses: ['draft', 'issued'], createdAfter: period.from, expand: ['lines'],
  orderBy: 'createdAt', order: 'DESC',
}), (page) => same(page.items.map((i) => [i.id, i.createdAt instanceof Date, i.lines.length]), [[id, true, 2]]))
await call('billing.invoices.get', (o) => o.billing.invoices.get(id, { expand: ['lines', 'workflow.apps'] }),
  (i) => same([i.id, i.customer.id, i.workflow.apps?.invoicing.id], [id, customer.id, app.id]))
// Its usage may be complete by now, and then there is nothing to take.
await call('billing.invoices.snapshotQuantities', async (o) => {
  const answered = await o.billing.invoices.snapshotQuantities(id).catch(() => JSON.parse(seen.text).reason)
  return typeof answered === 'string' ? answered : 'taken'
}, (a) => ['taken', 'invoice_action_not_available'].includes(a) || a)
// It waits for the hook, then for an approval: what the billing stage does by itself is done by then.
await until(id, 'draft.syncing')
await call('billing.invoices.advance', (o) => reasonOf(o.billing.invoices.advance(id)),
  (reason) => same(reason, 'invoice_cannot_advance'))
const synchronized = (o) => o.apps.customInvoicing.draftSynchronized(id, { invoicing: { externalId: 'e-1' } })
await call('apps.customInvoicing.draftSynchronized', synchronized, (nothing) => same(nothing ?? null, null))
await until(id, 'draft.manual_approval_needed')
async function synchronizedAgain() {
  await openmeter.billing.invoices.snapshotQuantities(id).catch(() => undefined)
  await until(id, 'draft.syncing')
  await synchronized(openmeter)
  await until(id, 'draft.manual_approval_needed')
}
await call('billing.invoices.update', (o) => o.billing.invoices.update(id, {
  supplier: { name: 'Us' }, customer: { name: 'Invoices Ltd' }, description: 'Thank you',
  lines: [{ id: draft.lines[0].id, ...fee('Set-up', '300') }], workflow: { workflow: { invoicing: {}, payment: {} } },
}), (i) => same([i.description, i.customer.name, i.lines.map((l) => [l.name, l.price.amount])],
  ['Thank you', 'Invoices Ltd', [['Set-up', '300']]]))
await synchronizedAgain()
await call('billing.invoices.recalculateTax', (o) => o.billing.invoices.recalculateTax(id),
  (i) => same([i.id, i.status], [id, 'draft']))
await synchronizedAgain()
await call('billing.invoices.approve', (o) => o.billing.invoices.approve(id),
  (i) => same([state(i), i.totals.total], ['issuing.syncing', '300']))
await call('apps.customInvoicing.issuingSynchronized', (o) => o.apps.customInvoicing.issuingSynchronized(id,
  { invoicing: { invoiceNumber: 'JS-1' } }), (nothing) => same(nothing ?? null, null))
await until(id, 'payment_processing.pending')
await call('apps.customInvoicing.updatePaymentStatus',
  (o) => o.apps.customInvoicing.updatePaymentStatus(id, { trigger: 'payment_failed' }),
  (nothing) => same(nothing ?? null, null))
await call('billing.invoices.retry', (o) => o.billing.invoices.retry(id),
  (i) => same([state(i), i.number], ['payment_processing.pending', 'JS-1']))
await call('billing.invoices.void', (o) => o.billing.invoices.void(id,
  { reason: 'Sent twice', action: { percentage: 100, action: { type: 'discard' } } }),
  (i) => same([i.status, i.number], ['voided', 'JS-1']))
await openmeter.billing.invoices.createLineItems(customer.id, { currency: 'EUR', lines: [fee('Later', '5')] })
const [second] = await openmeter.billing.invoices.invoicePendingLines({ customerId: customer.id })
await call('billing.invoices.delete', (o) => o.billing.invoices.delete(second.id),
  (nothing) => same(nothing ?? null, null))
