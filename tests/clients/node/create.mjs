// One message, not streamed.
import { args, client, report, text } from './lib.mjs';

report(async () => {
  const message = await client.messages.create(args.params, args.options);
  return { text: text(message), message, request_id: message._request_id };
});
