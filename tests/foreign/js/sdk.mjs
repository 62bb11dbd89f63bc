// What all programs share: the client, how a call is printed. One JSON object a line: {call, listed, outcome, note}.
// listed: the client has a method of this name. outcome: works, fails, absent (no such route here), answers (a route
// that the programs do not know how to ask well: the note says what it answered).
import { OpenMeter } from '@openmeter/sdk'

export const baseUrl = process.env.TALLYMARK_URL
const apiKey = process.env.TALLYMARK_KEY
export const seen = { status: 0, text: '' } // the last answer
export const fetchAndKeep = async (request) => {
  const response = await fetch(request)
  Object.assign(seen, { status: response.status, text: await response.clone().text() })
  return response
}
export const openmeter = new OpenMeter({ baseUrl, apiKey, fetch: fetchAndKeep })

// The names of all calls, as `billing.invoices.get`.
function methodsOf(owner, path) {
  const own = Object.getOwnPropertyNames(Object.getPrototypeOf(owner))
    .filter((name) => name !== 'constructor' && typeof owner[name] === 'function')
  const parts = Object.keys(owner).filter((name) => {
    const made = owner[name] && typeof owner[name] === 'object' ? Object.getPrototypeOf(owner[name]) : null
    return name !== 'client' && made !== null && made !== Object.prototype
  })
  return [...own.map((name) => [...path, name].join('.')), ...parts.flatMap((name) => methodsOf(owner[name], [...path, name]))]
}
export const methods = methodsOf(openmeter, [])
export const called = new Set()
export const say = (name, outcome, note = '') => {
  called.add(name)
  console.log(JSON.stringify({ call: name, listed: methods.includes(name), outcome, note: note.slice(0, 600) }))
}
export async function call(name, ask, check = () => true) {
  try {
    const answer = await ask(openmeter)
    const wrong = check(answer)
    say(name, wrong === true ? 'works' : 'fails', wrong === true ? '' : `${wrong} ${JSON.stringify(answer)}`)
    return answer
  } catch (error) {
    say(name, 'fails', `${error.message} ${seen.text}`)
    return undefined
  }
}
export const same = (found, wanted) =>
  JSON.stringify(found) === JSON.stringify(wanted) || `${JSON.stringify(found)} is not ${JSON.stringify(wanted)}`
export const nothing = (answer) => same(answer ?? null, null)
// The status of an answer that refuses.
export const refused = (ask) => ask.then(() => 'it is taken', (error) => error.status ?? error.statusCode ?? seen.status)
export const reasonOf = (ask) => ask.then(() => 'it is taken', () => JSON.parse(seen.text).reason)
// A call that the client does not have.
export async function post(path, body) {
  const headers = { 'content-type': 'application/json', ...(apiKey ? { authorization: `Bearer ${apiKey}` } : {}) }
  const response = await fetch(`${baseUrl}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
  return response.json()
}
// What the stages do is seen soon, not at once.
export async function soon(ask, holds) {
  let found
  for (let tries = 0; tries < 2400; tries++) {
    found = await ask().catch(() => undefined)
    if (found !== undefined && holds(found)) break
    await new Promise((done) => setTimeout(done, 100))
  }
  return found
}
