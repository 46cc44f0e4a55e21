// One chat completion, whole or through the SDK's stream helper: what the deltas added up to and what the final completion
// says.
import { args, client, partial, report } from './openai.mjs';

report(async () => {
  if (!args.stream) {
    const whole = await client.chat.completions.create(args.params);
    return { text: whole.choices[0].message.content, stop: whole.choices[0].finish_reason, model: whole.model, usage: whole.usage };
  }
  const stream = client.chat.completions.stream({ ...args.params, stream_options: { include_usage: true } });
  let text = '';
  stream.on('content', (delta) => (text += delta));
  try {
    const whole = await stream.finalChatCompletion();
    if (whole.choices[0].message.content !== text) throw new Error(`the deltas were ${text}`);
    return { text, stop: whole.choices[0].finish_reason, model: whole.model, usage: whole.usage };
  } catch (e) {
    throw partial(e, text);
  }
});
