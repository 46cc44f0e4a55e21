// Writes the price list that an unpacked package of genai-prices carries to standard output, as JSON:
//   npm pack @pydantic/genai-prices@0.1.8 && tar xzf pydantic-genai-prices-*.tgz && node export.mjs package/dist/index.js
import fs from 'node:fs';
import path from 'node:path';
import vm from 'node:vm';

const file = process.argv[2];
const source = fs.readFileSync(file, 'utf8');
const list = source.slice(source.indexOf('['), source.indexOf('\n]') + 2); // the first thing in the file is the list
const { version } = JSON.parse(fs.readFileSync(path.join(path.dirname(file), '../package.json'), 'utf8'));
process.stdout.write(JSON.stringify({ version, providers: vm.runInNewContext(list) }));
