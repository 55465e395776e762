// Takes Recado's callbacks, as docs/callbacks.md shows: node callback.js PORT, with the secret in RECADO_SECRET.
const { createServer } = require('node:http');
const { Webhook, WebhookVerificationError } = require('standardwebhooks');

const webhook = new Webhook(process.env.RECADO_SECRET);

createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString('utf8');
  try {
    // Over the text as it came; also refuses what is older than five minutes.
    webhook.verify(body, request.headers);
  } catch (error) {
    if (!(error instanceof WebhookVerificationError)) throw error;
    return response.writeHead(401).end();
  }
  const event = JSON.parse(body);
  // Keep it under its id before you answer: the same may come again.
  console.log(event.id, event.type);
  response.writeHead(204).end();
}).listen(Number(process.argv[2]), '127.0.0.1');
