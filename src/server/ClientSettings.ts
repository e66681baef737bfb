/**
 * What can be configured of clients: who they are, how that is known, and their limits.
 */
import * as Either from "effect/Either"
import * as ChannelsConfig from "../channels/ChannelsConfig.js"
import { count, flag, limit, publicKey, secret, section, text, time } from "./Leaf.js"

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
  leeway: time("How far the clock of who signs may be off; 0 for not at all", {
    group: "Tokens",
    fallback: "0 seconds"
  })
})

const personalChannel = section("A channel for each user, to which the server subscribes the user's connections.", {
  enabled: flag("Subscribes each user (without # or , in the id) to a channel of their own", {
    group: "Clients",
    fallback: "false"
  }),
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

/**
 * Clients of channels.
 */
export const client = section("Clients of channels: who they are, and their limits.", {
  allowAnonymous: flag("Clients may connect without a token", { group: "Clients", fallback: "false" }),
  insecure: flag("Nothing is checked: everyone may do everything", { group: "Clients", fallback: "false" }),
  token,
  pingInterval: clientTime("pingInterval", "Time between pings of clients; 0 for no pings"),
  pongTimeout: clientTime("pongTimeout", "Time to answer such a ping; 0 to wait for no answer"),
  staleTimeout: clientTime("staleTimeout", "Time for a new connection to send its connect command; cannot be 0"),
  expiredDelay: clientTime("expiredDelay", "Time to refresh an expired connection or subscription; 0 for none"),
  channelLimit: clientCount("channelLimit", "Channels that a client may be subscribed to; 0 for no limit"),
  userConnections: clientCount("userConnections", "Connections of one user on this node; 0 for no limit"),
  presenceInterval: clientTime("presenceInterval", "Time between renewals of presence; cannot be 0"),
  presenceTtl: clientTime("presenceTtl", "Time after which presence that is not renewed ends; cannot be 0"),
  positionCheckInterval: clientTime(
    "positionCheckInterval",
    "Time between looks at the stream for missed publications; cannot be 0"
  ),
  recoveryLimit: clientCount("recoveryLimit", "Most publications that a recovery brings; 0 for no limit"),
  historyLimit: clientCount("historyLimit", "Most publications that a client reads at once; 0 for no limit"),
  queueMaxSize: limit(
    "outboxBytes",
    "BYTES",
    "Bytes that wait for a client, as limits.outboxBytes; cannot be 0",
    "Clients",
    "--client-queue-max-size"
  ),
  personalChannel
})
