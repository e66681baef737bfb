/**
 * Why the command ends before it has begun.
 */
import * as Data from "effect/Data"

/**
 * A setting has a value it cannot have, or the command line is wrong. The message says all of it.
 */
export class Unusable extends Data.TaggedError("Unusable")<{ readonly message: string }> {}
