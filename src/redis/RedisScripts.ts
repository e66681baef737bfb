/**
 * What Redis does in one step.
 *
 * @since 1.0.0
 */
import { createHash } from "node:crypto"

/**
 * A script in Lua that Redis runs as one step, and how its reply is read. `name` says in errors and metrics what it does:
 * `publish`, `history`. `decode` may throw.
 *
 * @since 1.0.0
 * @category models
 */
export interface RedisScript<out A> {
  readonly name: string
  readonly lua: string
  readonly decode: (reply: unknown) => A
  /** The first argument, before those of the caller, is the name of the server's run: another one after each restart. */
  readonly isRunBound?: boolean | undefined
}

const hashes = new Map<string, string>()

/**
 * A script that servers are told of as soon as they are connected to: where one is not known, it is sent again, and
 * what was called after it may overtake it.
 *
 * @internal
 */
export const define = <A>(script: RedisScript<A>): RedisScript<A> => {
  shaOf(script.lua)
  return script
}

/** @internal */
export const knownScripts = (): Iterable<string> => hashes.keys()

/**
 * By which Redis knows a script that it has seen.
 *
 * @internal
 */
export const shaOf = (lua: string): string => {
  let found = hashes.get(lua)
  if (found === undefined) hashes.set(lua, found = createHash("sha1").update(lua).digest("hex"))
  return found
}
