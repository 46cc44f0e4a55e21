// A tool server of the Model Context Protocol on standard input and output. The name of its tool is the argument.
import { createInterface } from 'node:readline';

const tool = {
  name: process.argv[2],
  description: 'Tells the tide in a harbour.',
  inputSchema: { type: 'object', properties: { harbour: { type: 'string' } }, required: ['harbour'] },
};

const answers = {
  initialize: ({ protocolVersion }) => ({ protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'tides', version: '1' } }),
  'tools/list': () => ({ tools: [tool] }),
  'tools/call': ({ name, arguments: input }) => ({ content: [{ type: 'text', text: `${name}: high water in ${input.harbour} at 6:42` }] }),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, method, params } = JSON.parse(line);
  if (id === undefined) continue;
  const answer = answers[method];
  const outcome = answer ? { result: answer(params) } : { error: { code: -32601, message: `no method ${method}` } };
  process.stdout.write(JSON.stringify({ jsonrpc: '2.0', id, ...outcome }) + '\n');
}
