/**
 * What can be configured, as one schema: of a file, of variables and of flags. `Settings` reads its table from it, and
 * `JsonSchema` makes the schema for editors from it.
 */
import * as Schema from "effect/Schema"
import { NamespaceName, NamespaceOptions } from "../channels/Namespace.js"
import { client } from "./ClientSettings.js"
import { addresses, choice, json, limit, origins, port, secret, secrets, section, text, time } from "./Leaf.js"

const http = section("Where the server listens, and who may connect.", {
  host: text("Address to listen on; 0.0.0.0 for all", "an IP address or a host name", /^[\w.:%-]+$/, {
    group: "Server",
    placeholder: "ADDRESS",
    fallback: "127.0.0.1"
  }),
  port: port("Port to listen on; 0 for any that is free", { group: "Server", fallback: "8000" }),
  allowedOrigins: origins("Browser origin that may connect (repeatable); \"any\" for all", {
    group: "Server",
    flag: "--allowed-origin",
    placeholder: "ORIGIN",
    fallback: "same origin"
  }),
  trustedProxies: addresses("Proxy or CIDR range whose X-Forwarded-For is believed (repeatable)", {
    group: "Server",
    flag: "--trusted-proxy",
    placeholder: "ADDRESS",
    fallback: "none"
  })
})

const node = section("This node, one of those that are one hub.", {
  name: text("Name of this node, as the HTTP API tells it", "a text that is not empty", /\S/, {
    group: "Server",
    placeholder: "NAME",
    fallback: "the name of the machine"
  })
})

const limits = section("The limits of all connections.", {
  connections: limit("connections", "COUNT|off", "Connections in the whole hub; 0 or off for no limit", "Connections"),
  connectionsPerAddress: limit(
    "connectionsPerAddress",
    "COUNT|off",
    "Connections per remote address; 0 or off for no limit",
    "Connections"
  ),
  handshakeTimeout: limit("handshakeTimeout", "TIME|off", "Time for a handshake; 0 or off for no limit", "Connections"),
  heartbeatInterval: limit(
    "heartbeatInterval",
    "TIME|off",
    "Silence after which a peer is pinged; 0 or off for no pings",
    "Connections"
  ),
  heartbeatTimeout: limit(
    "heartbeatTimeout",
    "TIME",
    "Time to answer a ping; cannot be 0 while there are pings",
    "Connections"
  ),
  messageBytes: limit("messageBytes", "BYTES", "Largest message a peer may send; cannot be 0", "Messages"),
  messagesPerSecond: limit(
    "messagesPerSecond",
    "COUNT|off",
    "Messages per second a peer may send, on average; 0 or off for no limit",
    "Messages"
  ),
  messageBurst: limit(
    "messageBurst",
    "COUNT",
    "Messages a peer may send at once (twice a rate that is set); cannot be 0",
    "Messages"
  ),
  rateLimit: limit("rateLimit", "close|drop", "What happens to a peer over its rate, or to its message", "Messages"),
  inboxBytes: limit(
    "inboxBytes",
    "BYTES",
    "Received, not yet handled, per connection; then reading stops; cannot be 0",
    "Messages"
  ),
  outboxBytes: limit(
    "outboxBytes",
    "BYTES",
    "Sent and not yet read by the peer, per connection; cannot be 0",
    "Messages"
  ),
  overflow: limit(
    "overflow",
    "POLICY",
    "A full outbox: disconnect, drop-newest, drop-oldest or conflate",
    "Messages"
  ),
  drainDeadline: limit(
    "drainDeadline",
    "TIME",
    "Time for connections to end before they are cut off; 0 for none",
    "Stopping"
  ),
  drainPace: limit(
    "drainPace",
    "COUNT",
    "Connections closed per second, more if the deadline demands it; cannot be 0",
    "Stopping"
  ),
  closeGrace: limit(
    "closeGrace",
    "TIME",
    "Time for a handler to end, an outbox to empty, an answer; 0 for none",
    "Stopping"
  )
})

const channels = json(
  Schema.Struct({
    withoutNamespace: Schema.optional(NamespaceOptions).annotations({
      description: "Of channels whose name has no colon."
    }),
    namespaces: Schema.optional(
      Schema.Record({ key: NamespaceName, value: NamespaceOptions }).annotations({
        description: "By name: news is the namespace of the channel news:sport."
      })
    )
  }),
  "What channels there are, by namespace, as JSON",
  { group: "Channels", flag: "--channels-json", fallback: "none" }
)

/** What a header of a request can carry: a key of anything else would let nobody in. */
const apiKey = "^[\\x21-\\x7e]([\\x20-\\x7e]*[\\x21-\\x7e])?$"

const api = section("The HTTP API of the server.", {
  keys: secrets(
    "Key that lets an application use the HTTP API (repeatable)",
    {
      group: "HTTP API",
      flag: "--api-key",
      fallback: "none"
    },
    "texts of visible ASCII characters, with spaces only between them",
    apiKey
  )
})

const redis = { group: "Broker", fallback: "none" }

const sentinel = section("Sentinels, which know the master.", {
  name: text("Name of the master that Sentinels know", "a text that is not empty", /\S/, {
    ...redis,
    placeholder: "NAME"
  }),
  urls: secrets("Address of a Sentinel (repeatable)", { ...redis, placeholder: "URL" })
})

const broker = section("What carries publications between nodes, and keeps histories and presence.", {
  type: choice("In this process, for one node; or in Redis, for any number", ["memory", "redis"], {
    group: "Broker",
    fallback: "memory"
  }),
  url: secret("Redis: redis://user:password@host:port, or rediss://", {
    group: "Broker",
    placeholder: "URL",
    fallback: "redis://127.0.0.1:6379"
  }),
  urls: secrets("One of several Redis, each for a part of the channels (repeatable)", {
    ...redis,
    placeholder: "URL"
  }),
  cluster: secrets("A node of a Redis Cluster (repeatable)", { ...redis, placeholder: "URL" }),
  sentinel,
  username: text("User of Redis, if the address names none", "a text that is not empty", /\S/, {
    ...redis,
    placeholder: "NAME"
  }),
  password: secret("Password of Redis, if the address has none", redis),
  prefix: text(
    "How all names in Redis begin; nodes with the same are one hub",
    "a text without { and }",
    /^[^{}]+$/,
    {
      group: "Broker",
      fallback: "hub"
    }
  ),
  commandTimeout: time("Time for Redis to answer; cannot be 0", { group: "Broker", fallback: "3 seconds" }),
  nodeTimeout: time("Time for other nodes to answer; cannot be 0", { group: "Broker", fallback: "1 second" }),
  whileUnavailable: choice("Connections, until Redis is there for the first time", ["refuse", "serve"], {
    group: "Broker",
    fallback: "refuse"
  })
})

const traces = { group: "Telemetry" }

const telemetry = section("Traces for OpenTelemetry. Without an address there are none.", {
  otlpUrl: text(
    "URL of an OpenTelemetry collector, which takes traces at /v1/traces",
    "a URL with http or https",
    /^https?:\/\/[^\s/]+\S*$/,
    { ...traces, placeholder: "URL", fallback: "none" }
  ),
  serviceName: text("Name of this service in traces", "a text that is not empty", /\S/, {
    ...traces,
    placeholder: "NAME",
    fallback: "effect-ws-hub"
  }),
  headers: secrets(
    "Header for the collector, such as authorization=TOKEN (repeatable)",
    { ...traces, flag: "--telemetry-header", placeholder: "NAME=VALUE", fallback: "none" },
    "headers such as authorization=TOKEN",
    "^[\\w!#$%&'*+.^`|~-]+=[\\x20-\\x7e]*[\\x21-\\x7e]$"
  )
})

/**
 * All that can be configured. Nothing is required; what is not there takes its default.
 */
export const Configuration = Schema.Struct({
  $schema: Schema.optional(Schema.String.annotations({ description: "Where editors find the schema of this file." })),
  http,
  node,
  client,
  limits,
  api,
  channels,
  broker,
  telemetry
}).annotations({ title: "effect-ws-hub", description: "Configuration of effect-ws-hub." })

/**
 * All that can be configured, decoded: secrets are `Redacted`.
 */
export type Configuration = typeof Configuration.Type
