/**
 * The settings of the command, each with its flag, its variable and its line of help: one table for all of them.
 */
import * as Either from "effect/Either"
import * as HubConfig from "../core/HubConfig.js"

/**
 * One setting.
 */
export interface Setting {
  readonly group: string
  readonly flag: string
  readonly variable: string
  /** What stands for the value in the help. */
  readonly placeholder: string
  readonly help: string
  readonly fallback: string
  /** Whether the flag may be repeated, and the variable is a list separated by commas. */
  readonly list: boolean
}

type Limit = readonly [group: string, placeholder: string, help: string]

/** The limits of the hub. What they may be, and their defaults, `HubConfig` knows. */
const limits: Record<keyof HubConfig.HubOptions, Limit> = {
  connections: ["Connections", "COUNT|off", "Connections in the whole hub"],
  connectionsPerAddress: ["Connections", "COUNT|off", "Connections per remote address"],
  handshakeTimeout: ["Connections", "TIME|off", "Time for a handshake"],
  heartbeatInterval: ["Connections", "TIME|off", "Silence after which a peer is pinged"],
  heartbeatTimeout: ["Connections", "TIME", "Time to answer a ping"],
  messageBytes: ["Messages", "BYTES", "Largest message a peer may send"],
  messagesPerSecond: ["Messages", "COUNT|off", "Messages per second a peer may send, on average"],
  messageBurst: ["Messages", "COUNT", "Messages a peer may send at once (twice the rate, if that is given)"],
  rateLimit: ["Messages", "close|drop", "What happens to a peer over its rate, or to its message"],
  inboxBytes: ["Messages", "BYTES", "Received and not yet handled, per connection; then the hub stops reading"],
  outboxBytes: ["Messages", "BYTES", "Sent and not yet read by the peer, per connection"],
  overflow: ["Messages", "POLICY", "A full outbox: disconnect, drop-newest, drop-oldest or conflate"],
  drainDeadline: ["Stopping", "TIME", "Time for connections to end before they are cut off"],
  drainPace: ["Stopping", "COUNT", "Connections closed per second, more if the deadline demands it"],
  closeGrace: ["Stopping", "TIME", "Time for a handler to end, an outbox to empty, a peer to answer"]
}

const defaults = Either.getOrThrow(HubConfig.make())

const show = (placeholder: string, value: string | number): string => {
  if (value === Infinity) return "off"
  return placeholder.startsWith("TIME") ? `${Number(value) / 1000} seconds` : String(value)
}

const words = (key: string, separator: string) => key.replace(/[A-Z]/g, (letter) => separator + letter.toLowerCase())

const keys = Object.keys(limits) as Array<keyof typeof limits>

/**
 * All settings, in the order of the help.
 */
export const settings: ReadonlyArray<Setting> = [
  {
    group: "Server",
    flag: "--host",
    variable: "HUB_HOST",
    placeholder: "ADDRESS",
    help: "Address to listen on; 0.0.0.0 for all",
    fallback: "127.0.0.1",
    list: false
  },
  {
    group: "Server",
    flag: "--port",
    variable: "HUB_PORT",
    placeholder: "PORT",
    help: "Port to listen on; 0 for any that is free",
    fallback: "8000",
    list: false
  },
  {
    group: "Server",
    flag: "--allowed-origin",
    variable: "HUB_ALLOWED_ORIGINS",
    placeholder: "ORIGIN",
    help: "Browser origin that may connect (repeatable); \"any\" for all",
    fallback: "same origin",
    list: true
  },
  {
    group: "Server",
    flag: "--trusted-proxy",
    variable: "HUB_TRUSTED_PROXIES",
    placeholder: "ADDRESS",
    help: "Proxy or CIDR range whose X-Forwarded-For is believed (repeatable)",
    fallback: "none",
    list: true
  },
  ...keys.map((key): Setting => {
    const [group, placeholder, help] = limits[key]
    return {
      group,
      flag: `--${words(key, "-")}`,
      variable: `HUB_${words(key, "_").toUpperCase()}`,
      placeholder,
      help,
      fallback: show(placeholder, defaults[key]),
      list: false
    }
  })
]

/**
 * The setting of an option of the hub, or of a mount.
 */
export const settingOf = (key: string): Setting | undefined =>
  settings.find(({ variable }) => variable === `HUB_${words(key, "_").toUpperCase()}`)
