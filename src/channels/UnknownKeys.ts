/**
 * Options that there are not.
 *
 * @since 1.0.0
 */
import { InvalidOption } from "../core/HubError.js"

/**
 * Keys that there are not, with those that there are.
 *
 * @internal
 */
export const unknownKeys = (
  path: string,
  options: object,
  known: ReadonlyArray<string>
): ReadonlyArray<InvalidOption> =>
  Object.keys(options).filter((key) => !known.includes(key)).map((key) =>
    new InvalidOption({ key: `${path}${key}`, expected: `one of ${known.join(", ")}`, actual: key })
  )
