"""Sends every case with the official SDK, version 1 or 2: by confluent-kafka to Kafka, by requests over HTTP.

Arguments: version, cases file, bootstrap server, topic, URL. Prints one JSON line an event, in the order of sending.
"""

import base64
import json
import sys
from datetime import datetime
from pathlib import Path

import requests
from confluent_kafka import Producer

VERSION, FILE, SERVER, TOPIC, URL = sys.argv[1:]
if VERSION == "1":
    from cloudevents import http, kafka

    def event(attributes, data):
        return http.CloudEvent(attributes, data)

    def kafka_message(made, mode):
        return kafka.to_binary(made) if mode == "binary" else kafka.to_structured(made)

    def http_message(made, mode):
        return http.to_binary(made) if mode == "binary" else http.to_structured(made)

else:
    from cloudevents.core.bindings import http, kafka
    from cloudevents.core.v1.event import CloudEvent

    def event(attributes, data):
        if "time" in attributes:
            attributes["time"] = datetime.fromisoformat(attributes["time"])
        return CloudEvent(attributes, data)

    def kafka_message(made, mode):
        return kafka.to_binary_event(made) if mode == "binary" else kafka.to_structured_event(made)

    def http_message(made, mode):
        message = http.to_binary_event(made) if mode == "binary" else http.to_structured_event(made)
        return message.headers, message.body


def made(one, id):
    given = {
        "id": id,
        "type": "prompt",
        "source": "/py",
        "subject": "ann",
        "time": "2026-11-20T12:30:00.123000+00:00",
    }
    given |= {name: one[name] for name in ("datacontenttype", "dataschema", "subject", "time") if name in one}
    given = {name: value for name, value in given.items() if value is not None} | one.get("extensions", {})
    data = one["data"]
    content = base64.b64decode(data["bytes"]) if "bytes" in data else data.get("json", data.get("text"))
    return event(given, content)


producer = Producer({"bootstrap.servers": SERVER, "log_level": 0})


def to_kafka(one, mode):
    message = kafka_message(one, mode)
    producer.produce(TOPIC, message.value, message.key, headers=list(message.headers.items()))
    if producer.flush(10):
        raise RuntimeError("not sent")


def to_http(one, mode):
    headers, body = http_message(one, mode)
    requests.post(URL, headers=headers, data=body, timeout=10)


for one in json.loads(Path(FILE).read_text("utf-8")):
    for binding, send in (("kafka", to_kafka), ("http", to_http)):
        for mode in ("binary", "structured"):
            result = {"case": one["case"], "binding": binding, "mode": mode}
            try:
                send(made(one, f"{one['case']}.{binding}.{mode}"), mode)
            except Exception as error:  # whatever the SDK refuses is part of the recording
                result["refused"] = f"{type(error).__name__}: {error}".splitlines()[0]
            print(json.dumps(result))
