// The SDK's own loop over chat completions: it calls the function and sends what that returns.
import { args, client, report, weather } from './openai.mjs';

report(async () => {
  const seen = [];
  const runner = client.chat.completions.runTools({
    model: args.model,
    stream: args.stream,
    messages: [{ role: 'user', content: 'How is the weather?' }],
    tools: [
      {
        type: 'function',
        function: { ...weather, parse: JSON.parse, function: (input) => (seen.push(input), '22 degrees in ' + input.city) },
      },
    ],
  });
  return { text: await runner.finalContent(), inputs: seen };
});
