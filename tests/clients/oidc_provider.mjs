// A certified OpenID provider on this machine: `node oidc_provider.mjs PORT KEY_ID RESOURCE`, from the folder where
// oidc-provider is installed. Its key is a new one each time. It says `ready` once it listens.
import { generateKeyPairSync } from 'node:crypto';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const installed = createRequire(`${process.cwd()}/`).resolve('oidc-provider');
const { default: Provider, errors } = await import(pathToFileURL(installed));

const [port, keyId, gateway] = process.argv.slice(2);
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const key = { ...privateKey.export({ format: 'jwk' }), kid: keyId, use: 'sig', alg: 'RS256' };

const provider = new Provider(`http://127.0.0.1:${port}`, {
  jwks: { keys: [key] },
  cookies: { keys: ['of a test'] },
  scopes: ['openid', 'sql:read', 'sql:write'],
  clients: [
    {
      client_id: 'meter-app',
      client_secret: 'of-a-test',
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    },
    {
      client_id: 'desk-app',
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code'],
      redirect_uris: ['http://127.0.0.1/callback'],
    },
  ],
  findAccount: (context, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  extraTokenClaims: (context, token) => (token.accountId ? { groups: ['Data Analysts'] } : undefined),
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      useGrantedResource: () => true,
      getResourceServerInfo: (context, resource) => {
        if (![gateway, 'https://other.example/mcp'].includes(resource)) throw new errors.InvalidTarget();
        return {
          scope: 'sql:read sql:write',
          audience: resource,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'RS256' } },
        };
      },
    },
  },
});
provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
