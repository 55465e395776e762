"""Publishes an event to RabbitMQ and ends well only when the broker has it: python publish.py event.json

Needs pika. AMQP_URL says where the broker is, RECADO_EXCHANGE where to publish if not to shop.events.
"""

import json
import os
import sys

import pika


def publish(channel, exchange, event):
    """Raises unless the broker has it. Then publish it again, as often as needed: its id makes it count once."""
    channel.basic_publish(
        exchange=exchange,
        routing_key=event["type"],
        body=json.dumps(event).encode(),
        properties=pika.BasicProperties(
            delivery_mode=pika.DeliveryMode.Persistent,
            content_type="application/cloudevents+json",
            message_id=event["id"],
        ),
        # The broker gives back what no queue wants: a type that Recado's catalogue does not have, or a typing error.
        mandatory=True,
    )


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        event = json.load(file)
    connection = pika.BlockingConnection(pika.URLParameters(os.environ.get("AMQP_URL", "amqp://localhost")))
    try:
        channel = connection.channel()
        # From now on basic_publish waits for the broker's answer.
        channel.confirm_delivery()
        publish(channel, os.environ.get("RECADO_EXCHANGE", "shop.events"), event)
    except pika.exceptions.UnroutableError:
        sys.exit(f"not published: no queue wants {event['type']}: is it a type of the catalogue, and has Recado run once?")
    except (pika.exceptions.NackError, pika.exceptions.AMQPError) as error:
        sys.exit(f"not published: {error!r}")
    finally:
        if connection.is_open:
            connection.close()
    print(f"published {event['type']} {event['id']}")


if __name__ == "__main__":
    main()
