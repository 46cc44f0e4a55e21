// Two turns with a tool: the call, then its result.
import { args, client, report, text } from './lib.mjs';

report(async () => {
  const params = {
    model: args.model,
    max_tokens: 1024,
    tools: [{ name: 'weather', input_schema: { type: 'object', properties: { city: { type: 'string' } } } }],
    messages: [{ role: 'user', content: 'How is the weather?' }],
  };
  const turn = () => (args.stream ? client.messages.stream(params).finalMessage() : client.messages.create(params));
  const first = await turn();
  const call = first.content.find((block) => block.type === 'tool_use');
  params.messages.push(
    { role: 'assistant', content: first.content },
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: call.id, content: '22 degrees' }] },
  );
  const second = await turn();
  return { stop: first.stop_reason, id: call.id, input: call.input, text: text(second) };
});
