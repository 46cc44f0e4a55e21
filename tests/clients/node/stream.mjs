// One message through the SDK's stream helper: what the deltas added up to, what finalMessage says, and which events came.
// On an error the text so far goes with it.
import { args, client, report } from './lib.mjs';

report(async () => {
  const stream = client.messages.stream(args.params, args.options);
  let text = '';
  const events = [];
  stream.on('text', (delta) => (text += delta));
  stream.on('streamEvent', (event) => events.push(event.type));
  try {
    const message = await stream.finalMessage();
    return { text, events, message, request_id: stream.request_id };
  } catch (e) {
    e.message = `after ${JSON.stringify(text)}: ${e.message}`;
    throw e;
  }
});
