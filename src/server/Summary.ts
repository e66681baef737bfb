/**
 * The effective configuration as `check-config` prints it: each setting, its value, and where that came from.
 */
import * as Option from "effect/Option"
import { type Loaded, warning } from "./ServerConfig.js"
import { type Setting, settings } from "./Settings.js"
import { valueAt } from "./Sources.js"

const shownValue = (value: unknown): string => {
  if (Array.isArray(value)) return value.length === 0 ? "none" : value.map(shownValue).join(", ")
  return typeof value === "string" ? value.replace(/\s*\n[^]*/, " ...") : JSON.stringify(value)
}

/**
 * A line for each setting.
 */
export const lines = ({ config, sourceAt, value }: Loaded): ReadonlyArray<string> => {
  const assumed: Readonly<Record<string, unknown>> = config.development
    ? { "client.insecure": config.client.insecure, channels: config.namespaces }
    : {}
  const line = ({ fallback, path, secret }: Setting): string => {
    const given = valueAt(value, path)
    const label = path.join(".")
    if (given === undefined && label in assumed) return `${label} = ${shownValue(assumed[label])} [development mode]`
    const shown = given === undefined ? fallback : secret ? "(hidden)" : shownValue(given)
    return `${label} = ${shown} [${sourceAt(path)?.label ?? "default"}]`
  }
  return [...settings.map(line), ...Option.toArray(warning(config))]
}
