/**
 * What can be configured, as one schema: of a file, of variables and of flags. `Settings` reads its table from it, and
 * `JsonSchema` makes the schema for editors from it.
 */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import * as ChannelsConfig from "../channels/ChannelsConfig.js"
import { NamespaceName, NamespaceOptions } from "../channels/Namespace.js"
import {
  addresses,
  choice,
  count,
  flag,
  json,
  limit,
  origins,
  port,
  publicKey,
  secret,
  secrets,
  text,
  time
} from "./Leaf.js"

const section = <Fields extends Schema.Struct.Fields>(description: string, fields: Fields) =>
  Schema.optional(Schema.Struct(fields).annotations({ description }))

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

const tokens = { group: "Tokens", fallback: "none" }

const token = section("How tokens of clients are checked. Without a key there are no tokens.", {
  hmacSecret: secret("Secret of tokens signed with HS256, HS384 or HS512", tokens),
  rsaPublicKey: publicKey("Public key, as PEM, of tokens signed with RS256, RS384 or RS512", tokens),
  ecdsaPublicKey: publicKey("Public key, as PEM, of tokens signed with ES256, ES384 or ES512", tokens),
  ed25519PublicKey: publicKey("Public key, as PEM, of tokens signed with EdDSA", tokens),
  jwksUrl: text(
    "URL of a JSON Web Key Set; the token's kid names the key",
    "a URL with http or https",
    /^https?:\/\/[^\s/]+\S*$/,
    {
      ...tokens,
      placeholder: "URL"
    }
  ),
  audience: text("What the token's aud must be", "a text that is not empty", /\S/, { ...tokens, placeholder: "TEXT" }),
  issuer: text("What the token's iss must be", "a text that is not empty", /\S/, { ...tokens, placeholder: "TEXT" }),
  leeway: time("How far the clock of who signs may be off", { group: "Tokens", fallback: "0 seconds" })
})

const personalChannel = section("A channel for each user, to which the server subscribes the user's connections.", {
  enabled: flag("Subscribes each user to a channel of their own", { group: "Clients", fallback: "false" }),
  namespace: text(
    "Namespace of these channels; empty for none",
    "the name of a namespace, or nothing",
    /^([-a-zA-Z0-9_]{2,})?$/,
    { group: "Clients", placeholder: "NAME", fallback: "none" }
  ),
  singleConnection: flag("Closes a user's other connections when a new one comes", {
    group: "Clients",
    fallback: "false"
  })
})

const channelDefaults = Either.getOrThrow(ChannelsConfig.make({}))

/** An option of the channels service, with its default. */
const clientTime = (key: keyof ChannelsConfig.ChannelsConfig, help: string) =>
  time(help, { group: "Clients", fallback: `${Number(channelDefaults[key]) / 1000} seconds` })

const clientCount = (key: keyof ChannelsConfig.ChannelsConfig, help: string) =>
  count(help, {
    group: "Clients",
    fallback: channelDefaults[key] === Infinity ? "no limit" : String(channelDefaults[key])
  })

const client = section("Clients of channels: who they are, and their limits.", {
  allowAnonymous: flag("Clients may connect without a token", { group: "Clients", fallback: "false" }),
  insecure: flag("Nothing is checked: everyone may do everything", { group: "Clients", fallback: "false" }),
  token,
  pingInterval: clientTime("pingInterval", "Time between pings of clients; 0 for no pings"),
  pongTimeout: clientTime("pongTimeout", "Time to answer such a ping; 0 to wait for no answer"),
  staleTimeout: clientTime("staleTimeout", "Time for a new connection to send its connect command"),
  expiredDelay: clientTime("expiredDelay", "Time to refresh a connection or subscription that has expired"),
  channelLimit: clientCount("channelLimit", "Channels that a client may be subscribed to; 0 for no limit"),
  userConnections: clientCount("userConnections", "Connections of one user on this node; 0 for no limit"),
  presenceInterval: clientTime("presenceInterval", "Time between renewals of presence"),
  presenceTtl: clientTime("presenceTtl", "Time after which presence that is not renewed ends"),
  positionCheckInterval: clientTime("positionCheckInterval", "Time between comparisons of positions with the stream"),
  recoveryLimit: clientCount("recoveryLimit", "Most publications that a recovery brings; 0 for no limit"),
  historyLimit: clientCount("historyLimit", "Most publications that a client reads at once; 0 for no limit"),
  queueMaxSize: count("Bytes that wait for a client; 0 for no limit", { group: "Clients", fallback: "1048576" }),
  personalChannel
})

const limits = section("The limits of all connections.", {
  connections: limit("connections", "COUNT|off", "Connections in the whole hub", "Connections"),
  connectionsPerAddress: limit(
    "connectionsPerAddress",
    "COUNT|off",
    "Connections per remote address",
    "Connections"
  ),
  handshakeTimeout: limit("handshakeTimeout", "TIME|off", "Time for a handshake", "Connections"),
  heartbeatInterval: limit("heartbeatInterval", "TIME|off", "Silence after which a peer is pinged", "Connections"),
  heartbeatTimeout: limit("heartbeatTimeout", "TIME", "Time to answer a ping", "Connections"),
  messageBytes: limit("messageBytes", "BYTES", "Largest message a peer may send", "Messages"),
  messagesPerSecond: limit(
    "messagesPerSecond",
    "COUNT|off",
    "Messages per second a peer may send, on average",
    "Messages"
  ),
  messageBurst: limit(
    "messageBurst",
    "COUNT",
    "Messages a peer may send at once (twice the rate, if that is given)",
    "Messages"
  ),
  rateLimit: limit("rateLimit", "close|drop", "What happens to a peer over its rate, or to its message", "Messages"),
  inboxBytes: limit(
    "inboxBytes",
    "BYTES",
    "Received and not yet handled, per connection; then the hub stops reading",
    "Messages"
  ),
  outboxBytes: limit("outboxBytes", "BYTES", "Sent and not yet read by the peer, per connection", "Messages"),
  overflow: limit(
    "overflow",
    "POLICY",
    "A full outbox: disconnect, drop-newest, drop-oldest or conflate",
    "Messages"
  ),
  drainDeadline: limit(
    "drainDeadline",
    "TIME",
    "Time for connections to end before they are cut off",
    "Stopping"
  ),
  drainPace: limit("drainPace", "COUNT", "Connections closed per second, more if the deadline demands it", "Stopping"),
  closeGrace: limit(
    "closeGrace",
    "TIME",
    "Time for a handler to end, an outbox to empty, a peer to answer",
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

const api = section("The HTTP API of the server.", {
  keys: secrets("Key that lets an application use the HTTP API (repeatable)", {
    group: "HTTP API",
    flag: "--api-key",
    fallback: "none"
  })
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
  commandTimeout: time("Time for Redis to answer", { group: "Broker", fallback: "3 seconds" }),
  nodeTimeout: time("Time for other nodes to answer", { group: "Broker", fallback: "1 second" }),
  whileUnavailable: choice("Connections, until Redis is there for the first time", ["refuse", "serve"], {
    group: "Broker",
    fallback: "refuse"
  })
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
  broker
}).annotations({ title: "effect-ws-hub", description: "Configuration of effect-ws-hub." })

/**
 * All that can be configured, decoded: secrets are `Redacted`.
 */
export type Configuration = typeof Configuration.Type
