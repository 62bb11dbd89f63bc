// Makes every call of @openmeter/sdk against TALLYMARK_URL with the key TALLYMARK_KEY.
// Prints one JSON object a line: {call, listed, outcome, note}. outcome: works, fails, absent (no such route here),
// answers (a route that this program does not know how to ask well: the note says what it answered).
import { readFileSync } from 'node:fs'
import { OpenMeter } from '@openmeter/sdk'
import { OpenMeter as Portal } from '@openmeter/sdk/portal'
import { OpenMeterProvider, useOpenMeter } from '@openmeter/sdk/react'
import { createElement } from 'react'
import { renderToString } from 'react-dom/server'

const baseUrl = process.env.TALLYMARK_URL
let last = null
const seen = async (request) => {
  const response = await fetch(request)
  last = { status: response.status, text: await response.clone().text() }
  return response
}
const openmeter = new OpenMeter({ baseUrl, apiKey: process.env.TALLYMARK_KEY, fetch: seen })

const readme = readFileSync(new URL('node_modules/@openmeter/sdk/README.md', import.meta.url), 'utf8')
const listed = [...readme.matchAll(/`openmeter\.([A-Za-z0-9.]+)\([^`]*\)`\]\(\.\/src\/client/g)].map((m) => m[1])
const called = new Set()
const say = (call, outcome, note = '') =>
  console.log(JSON.stringify({ call, listed: listed.includes(call), outcome, note }))

async function call(name, ask, check = () => true) {
  called.add(name)
  try {
    const answer = await ask(openmeter)
    const wrong = check(answer)
    say(name, wrong === true ? 'works' : 'fails', wrong === true ? '' : `${wrong} ${JSON.stringify(answer)}`)
    return answer
  } catch (error) {
    say(name, 'fails', `${error.message} ${last?.text ?? ''}`.slice(0, 400))
    return undefined
  }
}
const same = (found, wanted) =>
  JSON.stringify(found) === JSON.stringify(wanted) || `${JSON.stringify(found)} is not ${JSON.stringify(wanted)}`

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
for (let tries = 0; tries < 300 && rows[0]?.value !== 6; tries++) {
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
  for (let tries = 0; tries < 100; tries++) {
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
await call('customers.list', (o) => o.customers.list({ page: 1, pageSize: 10, key: 'js-' }),
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
await call('features.delete', (o) => o.features.delete(feature?.id))

const token = await call('portal.create', (o) => o.portal.create({ subject: 'js-a', allowedMeterSlugs: [slug] }),
  (t) => same([t.subject, typeof t.token, t.expiresAt instanceof Date], ['js-a', 'string', true]))
const portal = new Portal({ baseUrl, portalToken: token?.token, fetch: seen })
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
  for (let tries = 0; tries < 50; tries++) {
    if (await portal.query(slug).then(() => false, (error) => error.statusCode === 401 || last.status === 401)) return 401
    await new Promise((done) => setTimeout(done, 100))
  }
  return 'still open'
}, (status) => same(status, 401))

await call('errors are problems', async (o) => o.meters.get('no_such_meter').then(() => null, (error) => error),
  (error) => same([error?.name, error?.status ?? error?.statusCode ?? last.status], ['HTTPError', 404]))
await call('customers.delete', (o) => o.customers.delete('js-customer'))
await call('subjects.delete', async (o) => {
  await o.subjects.delete('js-a')
  return o.subjects.delete('js-b')
})
await call('meters.delete', (o) => o.meters.delete(slug))

// All that the README lists and that was not asked above: is there a route?
for (const name of listed) {
  if (called.has(name)) continue
  const path = name.split('.')
  const method = path.pop()
  const owner = path.reduce((from, member) => from?.[member], openmeter)
  if (typeof owner?.[method] !== 'function') {
    say(name, 'fails', 'the client itself has no such method')
    continue
  }
  last = null
  const ids = Array.from({ length: owner[method].length - 1 }, () => 'x')
  let problem = ''
  try { await owner[method](...ids) } catch (error) { problem = error.message }
  const absent = last && (last.status === 405 || (last.status === 404 && last.text.includes(': Not Found.')))
  if (absent) say(name, 'absent')
  else say(name, last ? 'answers' : 'fails', last ? String(last.status) : problem)
}
