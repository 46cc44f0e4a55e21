// A loop over responses: the output becomes input, with the results of the calls after it.
import { args, client, report, weather } from './openai.mjs';

report(async () => {
  const params = {
    model: args.model,
    store: false,
    input: [{ role: 'user', content: 'How is the weather?' }],
    tools: [{ type: 'function', strict: true, ...weather }],
  };
  const inputs = [];
  for (let turn = 0; turn < 5; turn++) {
    const r = await (args.stream ? client.responses.stream(params).finalResponse() : client.responses.create(params));
    const calls = r.output.filter((item) => item.type === 'function_call');
    if (calls.length === 0) return { text: r.output_text, inputs };
    params.input.push(...r.output.map(({ parsed_arguments, ...item }) => item));
    for (const call of calls) {
      const input = JSON.parse(call.arguments);
      inputs.push(input);
      params.input.push({ type: 'function_call_output', call_id: call.call_id, output: '22 degrees in ' + input.city });
    }
  }
});
