// Makes the calls of @openmeter/sdk about subscriptions and their add-ons against TALLYMARK_URL with the key
// TALLYMARK_KEY. Prints what sdk.mjs says.
import { call, openmeter, refused, same, seen } from './sdk.mjs'

const fee = (key, amount) => ({
  type: 'flat_fee', key, name: key, billingCadence: 'P1M', price: { type: 'flat', amount, paymentTerm: 'in_advance' },
})
const plan = {
  name: 'Pro', currency: 'EUR', billingCadence: 'P1M',
  phases: [
    { key: 'trial', name: 'Trial', duration: 'P1M', rateCards: [{ ...fee('fee', '20'), price: null }] },
    { key: 'paid', name: 'Paid', duration: null, rateCards: [fee('fee', '20')] },
  ],
}
const addon = await openmeter.addons.create({
  key: 'js_seats', name: 'Seats', currency: 'EUR', instanceType: 'multiple', rateCards: [fee('seats', '5')],
})
await openmeter.addons.publish(addon.id)
const first = await openmeter.plans.create({ ...plan, key: 'js_pro' })
await openmeter.plans.addons.create(first.id, { addonId: addon.id, fromPlanPhase: 'trial', maxQuantity: 10 })
await openmeter.plans.publish(first.id)
await openmeter.customers.create({ key: 'js-subscriber', name: 'Customer' })
const customerKey = 'js-subscriber'

const made = await call('subscriptions.create',
  (o) => o.subscriptions.create({ customerKey, plan: { key: 'js_pro' }, timing: 'immediate', metadata: { a: 'b' } }),
  (s) => same([s.status, s.plan.key, s.plan.version, s.activeFrom instanceof Date, s.metadata],
    ['active', 'js_pro', 1, true, { a: 'b' }]))
const id = made?.id
await call('subscriptions.create',
  (o) => refused(o.subscriptions.create({ customerKey, plan: { key: 'js_pro' } })), (status) => same(status, 409))
await call('subscriptions.get', (o) => o.subscriptions.get(id),
  (s) => same([s.phases.map((p) => p.key), s.phases[0].items.map((i) => i.key), s.phases[0].createdAt instanceof Date,
    s.alignment.currentAlignedBillingPeriod.from instanceof Date], [['trial', 'paid'], ['fee'], true, true]))
await call('subscriptions.edit', (o) => o.subscriptions.edit(id, {
  customizations: [
    { op: 'add_item', phaseKey: 'trial', rateCard: fee('support', '9') },
    { op: 'stretch_phase', phaseKey: 'trial', extendBy: 'P1M' },
  ],
  timing: 'immediate',
}), (s) => same(s.id, id))
await call('subscriptions.cancel', (o) => o.subscriptions.cancel(id, { timing: 'next_billing_cycle' }),
  (s) => same([s.status, s.activeTo instanceof Date], ['canceled', true]))
await call('subscriptions.unscheduleCancelation', (o) => o.subscriptions.unscheduleCancelation(id),
  (s) => same([s.status, s.activeTo], ['active', undefined]))

const bought = await call('subscriptionAddons.create', (o) => o.subscriptionAddons.create(id, {
  addon: { id: addon.id }, quantity: 2, timing: 'immediate', name: 'Seats',
}), (a) => same([a.quantity, a.addon.key, a.rateCards.length, a.timeline.length, a.subscriptionId],
  [2, 'js_seats', 1, 1, id]))
await call('subscriptionAddons.list', (o) => o.subscriptionAddons.list(id),
  (all) => same(all.map((a) => a.id), [bought.id]))
await call('subscriptionAddons.get', (o) => o.subscriptionAddons.get(id, bought.id),
  (a) => same([a.id, a.quantityAt instanceof Date], [bought.id, true]))
await call('subscriptionAddons.update',
  (o) => o.subscriptionAddons.update(id, bought.id, { quantity: 3, timing: 'next_billing_cycle', name: 'More seats' }),
  (a) => same([a.timeline.map((part) => part.quantity), a.name], [[2, 3], 'More seats']))

const draft = await openmeter.plans.create({ ...plan, key: 'js_pro' })
await openmeter.plans.publish(draft.id)
const moved = await call('subscriptions.migrate',
  (o) => o.subscriptions.migrate(id, { timing: 'immediate', targetVersion: 2, startingPhase: 'paid' }),
  (m) => same([m.current.status, m.next.status, m.next.plan.version, m.next.phases.map((p) => p.key)],
    ['inactive', 'active', 2, ['paid']]))
const changed = await call('subscriptions.change', (o) => o.subscriptions.change(moved.next.id, {
  timing: 'next_billing_cycle', customPlan: { ...plan, name: 'Only theirs' },
}), (c) => same([c.current.status, c.next.status, c.next.name, c.next.plan], ['canceled', 'scheduled', 'Only theirs', undefined]))
await call('customers.listSubscriptions',
  (o) => o.customers.listSubscriptions(customerKey, { status: ['canceled', 'scheduled'], orderBy: 'activeFrom', order: 'DESC' }),
  (page) => same([page.totalCount, page.items.map((s) => s.id)], [2, [changed.next.id, moved.next.id]]))
await call('subscriptions.delete', async (o) => {
  await o.subscriptions.delete(changed.next.id)
  return seen.status
}, (status) => same(status, 204))
await call('subscriptions.delete', (o) => refused(o.subscriptions.delete(moved.next.id)), (status) => same(status, 403))
