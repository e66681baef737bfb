/**
 * Packages that a plain installation goes without.
 */
import * as Effect from "effect/Effect"
import { Unusable } from "./Unusable.js"

const isMissing = (cause: unknown, names: RegExp): boolean =>
  cause instanceof Error && "code" in cause && cause.code === "ERR_MODULE_NOT_FOUND" &&
  names.test(/'([^']*)'/.exec(cause.message)?.[1] ?? "")

/**
 * Loads the module of this program that needs the packages with these names, or says what to install.
 */
export const load = <A>(module: () => Promise<A>, names: RegExp, message: string): Effect.Effect<A, Unusable> =>
  Effect.catchAllDefect(
    Effect.promise(module),
    (cause) => isMissing(cause, names) ? new Unusable({ message }) : Effect.die(cause)
  )
