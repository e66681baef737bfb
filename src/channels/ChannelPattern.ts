/**
 * Names of channels with parameters in them: `chat:room-{id}`.
 *
 * A parameter stands for one or more ASCII characters other than `:`, `#` and `,`, which the protocol reserves. It ends
 * where the text after it occurs first. So a name is read in one way only, and in one pass: what reads it is a loop and
 * not a regular expression, since names come from clients and those with many parameters would take it for ever.
 *
 * @since 1.0.0
 */
import * as Either from "effect/Either"

/**
 * The names of the parameters of a pattern.
 *
 * @since 1.0.0
 * @category models
 */
export type Names<Pattern extends string> = string extends Pattern ? string
  : Pattern extends `${string}{${infer Name}}${infer Rest}` ? Name | Names<Rest>
  : never

/**
 * A pattern that was read. `texts` are the literal parts: one before each parameter, and one after the last.
 *
 * @internal
 */
export interface ChannelPattern {
  readonly names: ReadonlyArray<string>
  readonly texts: readonly [string, ...Array<string>]
}

/** Names of channels are at most this long. */
const longest = 255

/** What a parameter may stand for. */
const writable = /^[^:#,\x80-\uffff]+$/

/**
 * Reads a pattern. Throws a `RangeError` that says what is wrong with it: a definition is written once, by a programmer.
 *
 * @internal
 */
export const make = (pattern: string): ChannelPattern => {
  const wrong = (what: string) => new RangeError(`The channel pattern ${JSON.stringify(pattern)} ${what}.`)
  const [first = "", ...rest] = pattern.split("{")
  const texts: [string, ...Array<string>] = [first]
  const names: Array<string> = []
  for (const part of rest) {
    const end = part.indexOf("}")
    const name = part.slice(0, Math.max(end, 0))
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      throw wrong("has a { that no parameter follows: a parameter is a name in braces, as {id}")
    }
    if (names.includes(name)) throw wrong(`names the parameter ${name} twice`)
    names.push(name)
    texts.push(part.slice(end + 1))
  }
  if (texts.some((text) => text.includes("}"))) throw wrong("has a } without a {")
  if (texts.slice(1, -1).includes("")) throw wrong("has two parameters with no text between them")
  if (!/^[\x00-\x7f]*$/.test(pattern)) throw wrong("has characters that are not ASCII")
  if (texts.join("").length + names.length > longest) throw wrong(`gives names of more than ${longest} characters`)
  if (pattern === "") throw wrong("is empty")
  return { names, texts }
}

/**
 * Writes a name. What is left is a sentence that says why it cannot be written.
 *
 * @internal
 */
export const write = (
  { names, texts }: ChannelPattern,
  values: ReadonlyArray<string>
): Either.Either<string, string> => {
  let name = texts[0]
  for (let at = 0; at < names.length; at++) {
    const value = values[at] ?? ""
    if (!writable.test(value)) {
      return Either.left(
        `${names[at]}: a parameter is 1 or more ASCII characters other than ":", "#" and ",", not ${shown(value)}`
      )
    }
    name += value + (texts[at + 1] ?? "")
  }
  if (name.length > longest) return Either.left(`a channel's name has 1 to ${longest} characters`)
  const again = read({ names, texts }, name)
  const wrong = names.findIndex((_, at) => again?.[at] !== values[at])
  return wrong < 0
    ? Either.right(name)
    : Either.left(
      wrong === 0 && name.startsWith("$") && texts[0] === ""
        ? `${names[wrong]}: "$" at the start of a name makes the channel a private one`
        : `${names[wrong]}: ${shown(values[wrong] ?? "")} and the text around it could be read in another way`
    )
}

/**
 * The values of the parameters in a name; `undefined` if it is not of this pattern. Every name has one reading at most,
 * and has one if it could be written in any way.
 *
 * @internal
 */
export const read = ({ names, texts }: ChannelPattern, name: string): ReadonlyArray<string> | undefined => {
  const [first, ...rest] = texts
  if (rest.length === 0) return name === first ? [] : undefined
  if (name.length > longest || !name.startsWith(first)) return undefined
  // A "$" here would be the protocol's mark of a private channel, and not part of the value.
  if (first === "" && name.startsWith("$")) return undefined
  const values: Array<string> = []
  let start = first.length
  for (let at = 0; at < rest.length; at++) {
    const text = rest[at] ?? ""
    const last = at === rest.length - 1
    const end = last ? name.length - text.length : name.indexOf(text, start + 1)
    if (end <= start || (last && !name.endsWith(text))) return undefined
    const value = name.slice(start, end)
    if (!writable.test(value)) return undefined
    values.push(value)
    start = end + text.length
  }
  return values.length === names.length ? values : undefined
}

const shown = (value: string): string => JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value)
