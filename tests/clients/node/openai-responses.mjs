// One response, whole or through the SDK's stream helper, which is strict about the order of events.
import { args, client, partial, report } from './openai.mjs';

const read = (r) => ({
  text: r.output_text,
  stop: r.status,
  model: r.model,
  usage: {
    prompt_tokens: r.usage.input_tokens,
    completion_tokens: r.usage.output_tokens,
    prompt_tokens_details: { cached_tokens: r.usage.input_tokens_details.cached_tokens },
  },
});

report(async () => {
  if (!args.stream) return read(await client.responses.create(args.params));
  let text = '';
  const stream = client.responses.stream(args.params);
  stream.on('response.output_text.delta', (event) => (text += event.delta));
  try {
    const whole = await stream.finalResponse();
    if (whole.output_text !== text) throw new Error(`the deltas were ${text}`);
    return read(whole);
  } catch (e) {
    throw partial(e, text);
  }
});
