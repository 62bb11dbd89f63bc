// Makes the calls of @openmeter/sdk about channels, rules and their events against TALLYMARK_URL with the key
// TALLYMARK_KEY. Prints what sdk.mjs says.
import { call, nothing, openmeter, post, same, seen, soon } from './sdk.mjs'

const ids = (page) => page.items.map((one) => one.id)
const channelBody = { type: 'WEBHOOK', name: 'js', url: 'https://example.com/js', customHeaders: { 'x-team': 'js' } }
const channel = await call('notifications.channels.create', (o) => o.notifications.channels.create(channelBody),
  (c) => same([c.type, c.name, c.disabled, c.createdAt instanceof Date], ['WEBHOOK', 'js', false, true]))
await call('notifications.channels.get', (o) => o.notifications.channels.get(channel.id), (c) => same(c.id, channel.id))
await call('notifications.channels.list',
  (o) => o.notifications.channels.list({ page: 1, pageSize: 100, orderBy: 'createdAt', order: 'DESC' }),
  (page) => same(ids(page).includes(channel.id), true))
await call('notifications.channels.update',
  (o) => o.notifications.channels.update(channel.id, { ...channelBody, name: 'renamed' }), (c) => same(c.name, 'renamed'))

const ruleBody = { type: 'invoice.created', name: 'js invoices', channels: [channel.id] }
const rule = await call('notifications.rules.create', (o) => o.notifications.rules.create(ruleBody),
  (r) => same([r.type, r.channels.map((c) => c.id), r.createdAt instanceof Date], ['invoice.created', [channel.id], true]))
await call('notifications.rules.get', (o) => o.notifications.rules.get(rule.id), (r) => same(r.id, rule.id))
await call('notifications.rules.list', (o) => o.notifications.rules.list({ channel: [channel.id] }),
  (page) => same(ids(page), [rule.id]))
await call('notifications.rules.update', (o) => o.notifications.rules.update(rule.id, { ...ruleBody, name: 'renamed' }),
  (r) => same(r.name, 'renamed'))
await openmeter.notifications.channels.update(channel.id, { ...channelBody, disabled: true }) // nothing is sent
const made = await post(`/api/v1/notification/rules/${rule.id}/test`, {})
await call('notifications.events.list',
  (o) => soon(() => o.notifications.events.list({ rule: [rule.id] }), (page) => page.totalCount === 1),
  (page) => same(ids(page), [made.id]))
await call('notifications.events.get', (o) => o.notifications.events.get(made.id),
  (e) => same([e.id, e.rule.id, e.createdAt instanceof Date], [made.id, rule.id, true]))
await call('notifications.events.resend', (o) => o.notifications.events.resend(made.id, { channels: [channel.id] }),
  () => same(seen.status, 202))
await call('notifications.rules.delete', (o) => o.notifications.rules.delete(rule.id), nothing)
await call('notifications.channels.delete', (o) => o.notifications.channels.delete(channel.id), nothing)
