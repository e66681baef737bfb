/**
 * The effective configuration as `check-config` prints it: each setting, its value, and where that came from.
 */
import { type Loaded, warnings } from "./ServerConfig.js"
import { type Setting, settings } from "./Settings.js"
import { valueAt } from "./Sources.js"

const shownValue = (value: unknown): string => {
  if (Array.isArray(value)) return value.length === 0 ? "none" : value.map(shownValue).join(", ")
  if (value === "") return "none"
  return typeof value === "string" ? value.replace(/\s*\n[^]*/, " ...") : JSON.stringify(value)
}

/**
 * A line for each setting.
 */
export const lines = (loaded: Loaded): ReadonlyArray<string> => {
  const { config, sourceAt, value } = loaded
  const { client, development, hub, namespaces, origins } = config
  const assumed: Readonly<Record<string, unknown>> = development
    ? { "client.insecure": client.insecure, channels: namespaces }
    : {}
  const shownOrigins = origins === "same"
    ? "same origin"
    : origins === "loopback"
    ? "same origin, and of this machine"
    : shownValue(origins)
  /** What follows from another setting, if it is not given itself. */
  const derived: Readonly<Record<string, readonly [effective: number, from: ReadonlyArray<string>]>> = {
    "client.queueMaxSize": [hub.outboxBytes, ["limits", "outboxBytes"]],
    "limits.outboxBytes": [hub.outboxBytes, ["client", "queueMaxSize"]],
    "limits.messageBurst": [hub.messageBurst, ["limits", "messagesPerSecond"]]
  }
  const notGiven = (label: string, fallback: string): string => {
    if (label === "http.allowedOrigins" && origins === "loopback") return `${shownOrigins} [client.insecure]`
    if (label in assumed) return `${shownValue(assumed[label])} [development mode]`
    const [effective, from = []] = derived[label] ?? []
    const source = sourceAt(from)?.label
    return effective === undefined || source === undefined || String(effective) === fallback
      ? `${fallback} [default]`
      : `${effective} [${from.join(".")}: ${source}]`
  }
  const given = ({ secret }: Setting, label: string, written: unknown): string => {
    if (label === "http.allowedOrigins") return shownOrigins
    return secret && !(Array.isArray(written) && written.length === 0) ? "(hidden)" : shownValue(written)
  }
  const line = (setting: Setting): string => {
    const { fallback, path } = setting
    const written = valueAt(value, path)
    const label = path.join(".")
    return `${label} = ${
      written === undefined
        ? notGiven(label, fallback)
        : `${given(setting, label, written)} [${sourceAt(path)?.label ?? "default"}]`
    }`
  }
  return [...settings.map(line), ...warnings(config)]
}
