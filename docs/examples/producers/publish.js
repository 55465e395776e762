// Publishes an event to RabbitMQ and ends well only when the broker has it: node publish.js event.json
// Needs amqplib. AMQP_URL says where the broker is, RECADO_EXCHANGE where to publish if not to shop.events.
'use strict';
const { readFileSync } = require('node:fs');
const amqp = require('amqplib');

async function publish(channel, exchange, event) {
  // With `mandatory` the broker gives back what no queue wants: a type that Recado's catalogue does not have, or a typing error.
  let returned = null;
  const heard = (message) => { returned = message; };
  channel.on('return', heard);
  try {
    await new Promise((resolve, reject) => {
      const properties = { persistent: true, mandatory: true, contentType: 'application/cloudevents+json', messageId: event.id };
      const body = Buffer.from(JSON.stringify(event));
      channel.publish(exchange, event.type, body, properties, (error) => (error ? reject(error) : resolve()));
    });
  } finally {
    channel.off('return', heard);
  }
  // The return comes before the confirm.
  if (returned) throw new Error(`no queue wants ${event.type}: is it a type of the catalogue, and has Recado run once?`);
}

async function main() {
  const event = JSON.parse(readFileSync(process.argv[2], 'utf8'));
  const connection = await amqp.connect(process.env.AMQP_URL || 'amqp://localhost');
  try {
    const channel = await connection.createConfirmChannel();
    await publish(channel, process.env.RECADO_EXCHANGE || 'shop.events', event);
    console.log(`published ${event.type} ${event.id}`);
  } finally {
    await connection.close();
  }
}

main().catch((error) => {
  // Not published, or not known to be: publish it again, as often as needed. Its id makes it count once.
  console.error(`not published: ${error.message}`);
  process.exitCode = 1;
});
