// Calls the client as each line of input says, and writes what it gave, or why not, as a line.
import { createInterface } from 'node:readline';
import dicomweb from 'dicomweb-client';
import XMLHttpRequest from 'xhr2';

// What the client finds in every browser.
globalThis.XMLHttpRequest = XMLHttpRequest;

// What the client tells of itself would come between the lines.
console.debug = () => {};

const client = new dicomweb.api.DICOMwebClient({ url: process.argv[2], verbose: false });

function toBytes(key, value) {
  return value?.base64 === undefined ? value : Uint8Array.from(Buffer.from(value.base64, 'base64')).buffer;
}

function fromBytes(key, value) {
  return value instanceof ArrayBuffer ? { base64: Buffer.from(value).toString('base64') } : value;
}

for await (const line of createInterface({ input: process.stdin })) {
  const { method, options } = JSON.parse(line, toBytes);
  const answer = await client[method](options).then(
    (given) => ({ given }),
    (error) => ({ error: `${error.message}: ${error.status}` }),
  );
  console.log(JSON.stringify(answer, fromBytes));
}
