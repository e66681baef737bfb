/**
 * The kinds of settings: for each what it must be, for the loader and for editors, and how a variable or flag says it.
 */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import type * as AST from "effect/SchemaAST"
import { isIP } from "node:net"
import * as HubConfig from "../core/HubConfig.js"
import type { InvalidOption } from "../core/HubError.js"

/** How the text of a variable or flag becomes a value. */
export type Kind = "text" | "number" | "boolean" | "list" | "json"

/**
 * What is known of a setting beside its schema.
 */
export interface About {
  readonly group: string
  readonly kind: Kind
  readonly expected: string
  readonly help: string
  /** What stands for the value in the help. */
  readonly placeholder: string
  /** What is used if it is not set, for people. */
  readonly fallback: string
  readonly secret: boolean
  /** If it is not made from the path. */
  readonly flag?: string | undefined
}

type Place = Pick<About, "group" | "fallback" | "flag"> & { readonly placeholder?: string | undefined }

const AboutId = Symbol.for("effect-ws-hub/server/About")

const isAbout = (value: unknown): value is About => typeof value === "object" && value !== null && "kind" in value

/**
 * What is known of a setting, by its schema. Sections have nothing.
 */
export const aboutOf = (ast: AST.AST): About | undefined => {
  const about = ast.annotations[AboutId]
  return isAbout(about) ? about : undefined
}

const leaf = <A, I>(schema: Schema.Schema<A, I>, about: About, jsonSchema: object | undefined) =>
  Schema.optional(schema.annotations({
    [AboutId]: about,
    description: about.help,
    ...(jsonSchema === undefined ? {} : { jsonSchema: { ...jsonSchema, description: about.help } })
  }))

const about = (kind: Kind, help: string, expected: string, placeholder: string, place: Place): About => ({
  kind,
  help,
  expected,
  secret: false,
  ...place,
  placeholder: place.placeholder ?? placeholder
})

/** A duration in milliseconds, as the text of a setting or a number; at most what Node's timers hold. */
export const millis: (input: number | string) => number | undefined = HubConfig.millis

const longest = 2 ** 31 - 1

/** The durations that Effect reads and that are not negative, for editors. */
export const durationPattern = "^\\d+(?:\\.\\d+)?\\s+(nanos?|micros?|millis?|seconds?|minutes?|hours?|days?|weeks?)$"

const timeSchema = {
  anyOf: [{ type: "number", minimum: 0, maximum: longest }, { type: "string", pattern: durationPattern }]
}

const offSchema = { const: "off" }

const countSchema = (minimum: number) => ({ type: "integer", minimum, maximum: Number.MAX_SAFE_INTEGER })

/** Settings that belong together. */
export const section = <Fields extends Schema.Struct.Fields>(description: string, fields: Fields) =>
  Schema.optional(Schema.Struct(fields).annotations({ description }))

/** Yes or no. */
export const flag = (help: string, place: Place) =>
  leaf(Schema.Boolean, about("boolean", help, "true or false", "", place), { type: "boolean" })

/** Text of a form. */
export const text = (help: string, expected: string, pattern: RegExp, place: Place) =>
  leaf(
    Schema.String.pipe(Schema.filter((value) => pattern.test(value))),
    about("text", help, expected, "TEXT", place),
    {
      type: "string",
      pattern: pattern.source
    }
  )

/** One of a few words. */
export const choice = <const Words extends readonly [string, string]>(help: string, words: Words, place: Place) =>
  leaf(
    Schema.Literal(...words),
    about("text", help, words.join(" or "), words.join("|"), place),
    { type: "string", enum: words }
  )

/** A port to listen on. */
export const port = (help: string, place: Place) =>
  leaf(
    Schema.Int.pipe(Schema.between(0, 65535)),
    about("number", help, "a whole number from 0 to 65535", "PORT", place),
    { type: "integer", minimum: 0, maximum: 65535 }
  )

/** A number, where 0 is no limit. */
export const count = (help: string, place: Place) =>
  leaf(
    Schema.NonNegativeInt.pipe(Schema.filter(Number.isSafeInteger)),
    about("number", help, "a whole number, or 0 for no limit", "COUNT", place),
    countSchema(0)
  )

/** A duration, as Effect reads it, or milliseconds. */
export const time = (help: string, place: Place) =>
  leaf(
    Schema.Union(Schema.Number, Schema.String).pipe(Schema.filter((value) => millis(value) !== undefined)),
    about(
      "number",
      help,
      "a duration such as \"10 seconds\" or a number of milliseconds, at most 24 days",
      "TIME",
      place
    ),
    timeSchema
  )

const shown = "[^\\s]"

/** What nobody may read. */
export const secret = (help: string, place: Place) =>
  leaf(
    Schema.Redacted(Schema.String.pipe(Schema.pattern(new RegExp(shown)))),
    { ...about("text", help, "a text that is not empty", "SECRET", place), secret: true },
    { type: "string", pattern: shown }
  )

/** Several of them, of a form if there is one. */
export const secrets = (help: string, place: Place, expected = "texts that are not empty", pattern = shown) =>
  leaf(
    Schema.Array(Schema.Redacted(Schema.String.pipe(Schema.pattern(new RegExp(pattern))))),
    { ...about("list", help, expected, "SECRET", place), secret: true },
    { type: "array", items: { type: "string", pattern } }
  )

/** A public key. Whether it can be read is found out when the configuration is complete. */
export const publicKey = (help: string, place: Place) =>
  text(help, "a public key as PEM, which begins with -----BEGIN PUBLIC KEY-----", /^\s*-----BEGIN PUBLIC KEY-----/, {
    placeholder: "PEM",
    ...place
  })

/** Browsers write an origin in lower case and without the port that its scheme has anyway. */
export const origin = (text: string): string | undefined => {
  if (text === "any") return text
  if (!originPattern.test(text) || !URL.canParse(text)) return undefined
  const standard = new URL(text).origin
  return standard === "null" ? text.toLowerCase() : standard
}

const originPattern = /^(any|[a-zA-Z][a-zA-Z0-9+.-]*:\/\/[^/?#@\s]+)$/

/** Origins of browsers. */
export const origins = (help: string, place: Place) =>
  leaf(
    Schema.Array(Schema.String.pipe(Schema.filter((text) => origin(text) !== undefined))),
    about("list", help, "origins such as https://app.example, without a path, or \"any\"", "ORIGIN", place),
    { type: "array", items: { type: "string", pattern: originPattern.source } }
  )

const isRange = (text: string): boolean => {
  const [address = "", prefix, ...more] = text.split("/")
  const family = isIP(address)
  return family !== 0 && more.length === 0 &&
    (prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (family === 6 ? 128 : 32)))
}

/** Addresses and ranges of them. */
export const addresses = (help: string, place: Place) =>
  leaf(
    Schema.Array(Schema.String.pipe(Schema.filter(isRange))),
    about("list", help, "IP addresses or CIDR ranges such as 10.0.0.0/8", "ADDRESS", place),
    { type: "array", items: { type: "string", pattern: "^[0-9a-fA-F.:]+(/[0-9]{1,3})?$" } }
  )

/** What has a form of its own, which a variable says as JSON. */
export const json = <A, I>(schema: Schema.Schema<A, I>, help: string, place: Place) =>
  leaf(schema, about("json", help, "an object", "JSON", place), undefined)

const defaults = Either.getOrThrow(HubConfig.make())

/** One option alone: with heartbeats off, `heartbeatTimeout` may be anything that it may be at all. */
const alone = (key: keyof HubConfig.HubOptions, value: unknown): Either.Either<unknown, InvalidOption> =>
  HubConfig.make({ heartbeatInterval: "off", ...Object.fromEntries([[key, value]]) as HubConfig.HubOptions })

const expectedOfLimit = (key: keyof HubConfig.HubOptions): string =>
  Either.match(alone(key, NaN), { onLeft: ({ expected }) => expected, onRight: () => "" })

const schemaOfLimit = (placeholder: string): object => {
  switch (placeholder) {
    case "TIME":
      return timeSchema
    case "TIME|off":
      return { anyOf: [...timeSchema.anyOf, offSchema] }
    case "COUNT|off":
      return { anyOf: [countSchema(0), offSchema] }
    case "COUNT":
    case "BYTES":
      return countSchema(1)
    case "POLICY":
      return { type: "string", enum: ["disconnect", "drop-newest", "drop-oldest", "conflate"] }
    default:
      return { type: "string", enum: placeholder.split("|") }
  }
}

/** An option of the hub: `HubConfig` knows what it may be. */
export const limit = (
  key: keyof HubConfig.HubOptions,
  placeholder: string,
  help: string,
  group: string,
  flag = `--${dashed(key)}`
) => {
  const value = defaults[key]
  const shown = value === Infinity ? "off" : placeholder.startsWith("TIME") ? `${Number(value) / 1000} seconds` : value
  return leaf(
    Schema.Union(Schema.Number, Schema.String).pipe(Schema.filter((value) => Either.isRight(alone(key, value)))),
    about("number", help, expectedOfLimit(key), placeholder, {
      group,
      fallback: String(shown),
      flag
    }),
    schemaOfLimit(placeholder)
  )
}

/** `messageBytes` as `message-bytes`. */
export const dashed = (key: string): string => key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
