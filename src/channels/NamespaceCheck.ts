/**
 * What is wrong with the options of namespaces: names, keys, values, and what does not go together.
 *
 * @since 1.0.0
 */
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as Coalesce from "../core/Coalesce.js"
import { InvalidOption } from "../core/HubError.js"
import * as Namespace from "./Namespace.js"
import { unknownKeys } from "./UnknownKeys.js"

const decode = Schema.decodeUnknownEither(Namespace.NamespaceOptions, { errors: "all" })

const isName = Schema.is(Namespace.NamespaceName)

/** Each key that is not known or has a value that it cannot have. */
const misread = (path: string, actual: unknown, error: ParseResult.ParseError): ReadonlyArray<InvalidOption> => {
  if (!Predicate.isRecord(actual)) return [new InvalidOption({ key: path, expected: "an object", actual })]
  const keys = new Set(ParseResult.ArrayFormatter.formatErrorSync(error).map(({ path: [key] }) => String(key)))
  return [
    ...unknownKeys(`${path}.`, actual, Object.keys(Namespace.NamespaceOptions.fields)),
    ...Array.from(keys).flatMap((key) => {
      const expected = Namespace.expectedOf(key)
      return expected === undefined ? [] : [new InvalidOption({ key: `${path}.${key}`, expected, actual: actual[key] })]
    })
  ]
}

/** What does not go together, of options that are right each for itself. */
const conflicts = (path: string, options: Namespace.NamespaceOptions): ReadonlyArray<InvalidOption> => {
  const found: Array<InvalidOption> = []
  const wrong = (key: keyof Namespace.NamespaceOptions, expected: string) =>
    found.push(new InvalidOption({ key: `${path}.${key}`, expected, actual: options[key] }))
  const { coalesceWindow, overflow, stream } = Namespace.make("", options)
  const recovery = (["forceRecovery", "allowRecovery"] as const).find((key) => options[key] === true)
  const lossless = recovery ?? (["forcePositioning", "allowPositioning"] as const).find((key) => options[key] === true)
  if (options.autoCacheRecover === true && options.forceRecoveryMode !== "cache") {
    wrong("autoCacheRecover", "forceRecoveryMode cache beside it")
  }
  if (lossless !== undefined && stream === undefined) {
    wrong(lossless, "a history beside it: historySize and historyTtl above 0")
  } else {
    // Half of a history is none, which nobody who asks for one expects.
    const { historySize, historyTtl } = options
    const half = "or 0 for no history"
    if (historySize !== undefined && historySize > 0 && historyTtl === undefined) {
      wrong("historyTtl", `a value beside historySize, ${half}`)
    }
    if (historySize === undefined && Namespace.millis(historyTtl, 0) > 0) {
      wrong("historySize", `a value beside historyTtl, ${half}`)
    }
  }
  // Where nothing may be lost, nothing may be dropped.
  if (lossless !== undefined && overflow !== "disconnect") {
    wrong("overflow", `disconnect, since ${lossless} must not lose anything`)
  }
  if (coalesceWindow !== 0) {
    const checked = Coalesce.checkWindow(coalesceWindow)
    if (Either.isLeft(checked)) wrong("coalesceWindow", `0 or ${checked.left.expected}`)
  }
  return found
}

const check = (path: string, options: unknown): ReadonlyArray<InvalidOption> =>
  Either.match(decode(options), {
    onLeft: (error) => misread(path, options, error),
    onRight: (options) => conflicts(path, options)
  })

const named = (name: string, options: unknown): ReadonlyArray<InvalidOption> =>
  isName(name) ? check(`namespaces.${name}`, options) : [
    new InvalidOption({
      key: `namespaces.${name}`,
      expected: "a name of two or more letters, digits, hyphens and underscores, other than __proto__",
      actual: name
    })
  ]

/**
 * All that is wrong, each under its path: `namespaces.news.historyTtl`.
 *
 * @internal
 */
export const problems = (
  { namespaces = {}, withoutNamespace }: Namespace.NamespacesOptions
): ReadonlyArray<InvalidOption> => [
  ...(withoutNamespace === undefined ? [] : check("withoutNamespace", withoutNamespace)),
  ...(Predicate.isRecord(namespaces)
    ? Object.entries(namespaces).flatMap(([name, options]) => named(name, options))
    : [new InvalidOption({ key: "namespaces", expected: "an object", actual: namespaces })])
]
