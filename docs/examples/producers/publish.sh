#!/bin/sh
# Brings an event to Recado over HTTP, without RabbitMQ: RECADO_KEY=rk_… sh publish.sh event.json
# RECADO_URL says where Recado is. Make the key with: recado keys create --name shop --role producer
# Ends well only when the event is stored. What is answered 5xx, or not at all, is sent again: its id makes it count once.
set -eu
exec curl --silent --show-error --fail-with-body --retry 5 --retry-connrefused --retry-max-time 60 --max-time 15 \
  --header "Authorization: Bearer $RECADO_KEY" \
  --header 'Content-Type: application/cloudevents+json' \
  --data-binary "@$1" \
  "${RECADO_URL:-http://127.0.0.1:8080}/v1/events"
