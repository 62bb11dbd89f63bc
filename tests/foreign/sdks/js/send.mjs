// Sends every case with the official SDK: by kafkajs to Kafka, by the SDK's own transport over HTTP.
// Arguments: cases file, bootstrap server, topic, URL. Prints one JSON line an event, in the order of sending.
import { readFileSync } from "node:fs";
import { CloudEvent, emitterFor, HTTP, httpTransport, Kafka, Mode } from "cloudevents";
import kafkajs from "kafkajs";

const [file, server, topic, url] = process.argv.slice(2);
const client = new kafkajs.Kafka({ brokers: [server], logLevel: kafkajs.logLevel.NOTHING });
const producer = client.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner });
await producer.connect();

function data({ json, text, bytes }) {
  return json ?? text ?? (bytes === undefined ? undefined : Uint8Array.from(Buffer.from(bytes, "base64")));
}

function made(one, id) {
  const given = { id, type: "prompt", source: "/js", subject: "ann", time: "2026-11-20T12:30:00.123Z" };
  for (const name of ["datacontenttype", "dataschema", "subject", "time"]) {
    if (one[name] !== undefined) given[name] = one[name] ?? undefined;
  }
  const content = data(one.data);
  return new CloudEvent({ ...given, ...one.extensions, ...(content === undefined ? {} : { data: content }) });
}

async function toKafka(event, mode) {
  const message = mode === "binary" ? Kafka.binary(event) : Kafka.structured(event);
  // kafkajs takes strings and buffers only: headers without a value are left out, others become text.
  const headers = Object.entries(message.headers).filter(([, value]) => value !== undefined);
  const value = message.value;
  const plain = value === undefined ? null : value instanceof Uint8Array ? Buffer.from(value) : value;
  await producer.send({
    topic,
    messages: [{
      key: message.key,
      value: plain === null || typeof plain === "string" || Buffer.isBuffer(plain) ? plain : JSON.stringify(plain),
      headers: Object.fromEntries(headers.map(([name, text]) => [name, String(text)])),
    }],
  });
}

async function toHttp(event, mode) {
  await emitterFor(httpTransport(url), { binding: HTTP, mode: mode === "binary" ? Mode.BINARY : Mode.STRUCTURED })(event);
}

for (const one of JSON.parse(readFileSync(file, "utf8"))) {
  for (const [binding, send] of [["kafka", toKafka], ["http", toHttp]]) {
    for (const mode of ["binary", "structured"]) {
      const said = { case: one.case, binding, mode };
      try {
        await send(made(one, `${one.case}.${binding}.${mode}`), mode);
      } catch (error) {
        said.refused = String(error.message).split("\n")[0];
      }
      console.log(JSON.stringify(said));
    }
  }
}
await producer.disconnect();
process.exit(0); // a request that the transport could not write stays open
