// Twilio's official Node helper against the simulator: sends, lists, follows pages, keeps content, verifies signatures.

const http = require('node:http');
const twilio = require('twilio');

const base = process.argv[2];
const account = 'AC0123456789abcdef0123456789abcdef';
const token = 'sim-auth-token';
const [sms, whatsapp] = ['+34600000001', 'whatsapp:+34600000001'];
const [eva, evaThere] = ['+34600111444', 'whatsapp:+34600111444'];

// Sends to the simulator what is meant for Twilio.
class There extends twilio.RequestClient {
  request(asked) {
    const uri = asked.uri.replace(/^https:\/\/(api|content)\.twilio\.com/, base);
    return super.request({ ...asked, uri });
  }
}

let failed = 0;
function holds(what, good, shown = '') {
  if (!good) failed += 1;
  console.log(`twilio-node: ${good ? 'holds' : 'FAILS'}: ${what}${good ? '' : ` (${JSON.stringify(shown)})`}`);
}

async function refused(call) {
  try {
    await call();
    return 'accepted';
  } catch (error) {
    return `${error.status} ${error.code}`;
  }
}

// Hears every POST on a port of its own.
function listen() {
  const heard = [];
  const waiting = [];
  const server = http.createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      const form = Object.fromEntries(new URLSearchParams(Buffer.concat(chunks).toString()));
      const post = { path: request.url, signature: request.headers['x-twilio-signature'], form };
      response.end();
      if (waiting.length > 0) waiting.shift()(post);
      else heard.push(post);
    });
  });
  const next = () =>
    heard.length > 0
      ? Promise.resolve(heard.shift())
      : new Promise((resolve, reject) => {
          setTimeout(() => reject(new Error('nothing was posted')), 10_000).unref();
          waiting.push(resolve);
        });
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve({ url: `http://127.0.0.1:${server.address().port}`, next, server }));
  });
}

async function sim(path, body) {
  const answer = await fetch(`${base}/_sim/${path}`, { method: 'POST', body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
}

async function main() {
  const ear = await listen();
  const client = twilio(account, token, { httpClient: new There() });
  const stranger = twilio(account, 'wrong', { httpClient: new There() });

  const content = await client.content.v1.contents.create({
    friendlyName: 'pedido',
    language: 'es',
    variables: { 1: 'Ana' },
    types: { 'twilio/text': { body: 'Hola {{1}}, tu pedido ha salido.' } },
  });
  holds('content is created', content.sid.startsWith('HX'), content);
  const review = await client.content.v1
    .contents(content.sid)
    .approvalCreate.create({ name: 'pedido_node', category: 'UTILITY' });
  holds('approval is asked for', review.status === 'received', review.status);
  await sim('contents/stage', { sid: content.sid, stage: 'approved' });
  const fetched = await client.content.v1.contents(content.sid).approvalFetch().fetch();
  holds('approval is fetched', fetched.whatsapp.status === 'approved', fetched.whatsapp);

  const callback = `${ear.url}/status?attempt=b%2F2`;
  const message = await client.messages.create({
    to: evaThere,
    from: whatsapp,
    contentSid: content.sid,
    contentVariables: JSON.stringify({ 1: 'Eva 🎉' }),
    statusCallback: callback,
  });
  holds('content is sent', message.status === 'queued' && message.body === 'Hola Eva 🎉, tu pedido ha salido.', message.body);
  const statuses = [];
  for (let count = 0; count < 3; count += 1) {
    const { path, signature, form } = await ear.next();
    statuses.push(form.MessageStatus);
    holds(`the signature of ${form.MessageStatus} is good`, twilio.validateRequest(token, signature, ear.url + path, form));
    holds('another token is noticed', !twilio.validateRequest('wrong', signature, ear.url + path, form));
  }
  holds('statuses come', statuses.sort().join() === 'delivered,read,sent', statuses);
  const listed = await client.messages.list({ to: evaThere, from: whatsapp });
  holds('the list has the message', listed.length === 1 && listed[0].sid === message.sid, listed);
  for (let number = 0; number < 5; number += 1) {
    await client.messages.create({ to: eva, from: sms, body: `texto ${number}` });
  }
  const texts = (await client.messages.list({ to: eva, pageSize: 2 })).map((one) => one.body);
  holds('pages are followed', texts.join() === 'texto 4,texto 3,texto 2,texto 1,texto 0', texts);
  const lists = await client.content.v1.contents.list({ pageSize: 1 });
  holds('contents are listed over pages', lists.some((one) => one.sid === content.sid), lists.length);

  const cases = [
    ['no token', () => stranger.messages.list(), '401 20003'],
    ['From as To', () => client.messages.create({ to: whatsapp, from: whatsapp, body: 'x' }), '400 63031'],
    ['bad variables', () => client.messages.create({ to: evaThere, from: whatsapp, contentSid: content.sid, contentVariables: 'x' }), '400 21656'],
    ['no such message', () => client.messages(`SM${'0'.repeat(32)}`).fetch(), '404 20404'],
  ];
  for (const [what, call, expected] of cases) {
    const got = await refused(call);
    holds(`${what} is ${expected}`, got === expected, got);
  }

  const inbound = `${ear.url}/inbound`;
  await sim(`numbers/${encodeURIComponent(sms)}`, { inbound_url: inbound });
  await sim(`people/${eva}/reply`, { text: 'alta & más + ñ', sender: sms });
  const { signature, form } = await ear.next();
  holds('the signature of an inbound SMS is good', twilio.validateRequest(token, signature, inbound, form));
  holds('it has the text', form.Body === 'alta & más + ñ' && form.From === eva, form);
  holds('content is deleted', await client.content.v1.contents(content.sid).remove());
  ear.server.close();
}

main()
  .catch((error) => holds('it comes to an end', false, String(error)))
  .finally(() => process.exit(failed === 0 ? 0 : 1));
