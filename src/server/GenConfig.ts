/**
 * The command `gen-config`.
 */
import * as Effect from "effect/Effect"
import { randomBytes } from "node:crypto"
import { type Flags, flagValue } from "./Sources.js"
import { Unusable } from "./Unusable.js"

/** What is random in a configuration. */
export interface Secrets {
  readonly hmacSecret: string
  readonly apiKey: string
}

const schema = "./node_modules/effect-ws-hub/hub.schema.json"

const yaml = ({ apiKey, hmacSecret }: Secrets) =>
  `# yaml-language-server: $schema=${schema}
# Keep this file secret: who has it can make tokens. What is not here has its default (effect-ws-hub --help).

http:
  # 0.0.0.0 listens on all addresses of this machine.
  host: 127.0.0.1
  port: 8000
  # Pages of these origins may connect; without it only pages that this server serves.
  # allowedOrigins: [https://app.example]
  # Proxies whose X-Forwarded-For is believed.
  # trustedProxies: [10.0.0.0/8]

client:
  # Lets clients connect without a token.
  # allowAnonymous: true
  token:
    # Signs and checks tokens: effect-ws-hub gen-token --config this-file --user ada
    hmacSecret: ${hmacSecret}
    # audience: my-hub
    # issuer: my-application

# limits:
#   connections: 100000
#   messageBytes: 65536
#   drainDeadline: 10 seconds

api:
  # What an application sends to use the HTTP API.
  keys: [${apiKey}]

channels:
  # Channels whose name has no colon. Nothing is allowed unless it says so.
  # withoutNamespace:
  #   allowSubscribeForClient: true
  namespaces:
    # The channels news:..., for example news:sport.
    news:
      allowSubscribeForClient: true
      presence: true
      allowPresenceForSubscriber: true
      historySize: 100
      historyTtl: 5 minutes
      forceRecovery: true

# For more than one node: all of them with the same Redis (npm install redis@6).
# broker:
#   type: redis
#   url: redis://127.0.0.1:6379

# Traces for OpenTelemetry (npm install @effect/opentelemetry@0.64).
# telemetry:
#   otlpUrl: http://127.0.0.1:4318
`

const json = ({ apiKey, hmacSecret }: Secrets) =>
  `${
    JSON.stringify(
      {
        $schema: schema,
        http: { host: "127.0.0.1", port: 8000, allowedOrigins: [] },
        client: { token: { hmacSecret } },
        api: { keys: [apiKey] },
        channels: {
          namespaces: {
            news: {
              allowSubscribeForClient: true,
              presence: true,
              allowPresenceForSubscriber: true,
              historySize: 100,
              historyTtl: "5 minutes",
              forceRecovery: true
            }
          }
        }
      },
      null,
      2
    )
  }\n`

const formats = new Map([["yaml", yaml], ["json", json]])

/** 256 bits each; the letter before them keeps YAML from taking digits for a number. */
const secrets = Effect.sync((): Secrets => ({
  hmacSecret: `s${randomBytes(32).toString("hex")}`,
  apiKey: `k${randomBytes(32).toString("hex")}`
}))

/**
 * A configuration with new secrets.
 */
export const config = (flags: Flags): Effect.Effect<string, Unusable> => {
  const format = flagValue(flags, "--format") ?? "yaml"
  const write = formats.get(format)
  return write === undefined
    ? new Unusable({ message: `--format: expected yaml or json, got ${JSON.stringify(format)}.` })
    : Effect.map(secrets, write)
}
