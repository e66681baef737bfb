/**
 * Parameters of the server API, as the service takes them.
 *
 * @since 1.0.0
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import * as ParseResult from "effect/ParseResult"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import type { Override } from "./Authenticator.js"
import type { PublishOptions } from "./Channels.js"
import { badRequest, notAvailable, type ProtocolError } from "./ProtocolCode.js"

/** What a caller made up may be long. */
const shorten = (text: string): string => text.length > 64 ? `${text.slice(0, 64)}…` : text

/** Where decoding ended. */
const innermost = (issue: ParseResult.ParseIssue): ParseResult.ParseIssue =>
  issue._tag === "Composite"
    ? innermost(Arr.ensure(issue.issues)[0] ?? issue)
    : "issue" in issue
    ? innermost(issue.issue)
    : issue

/** The library's own sentence about a struct is about types, and repeats the whole value. */
const isNoObject = (issue: ParseResult.ParseIssue): boolean => issue._tag === "Type" && AST.isTypeLiteral(issue.ast)

const sentence = (issue: ParseResult.ParseIssue): string => {
  const first = ParseResult.ArrayFormatter.formatIssueSync(issue)[0]
  if (first === undefined) return "the parameters are wrong"
  const path = first.path.map((key, i) =>
    typeof key === "number" ? `[${key}]` : i === 0 ? String(key) : `.${String(key)}`
  ).join("")
  const what = isNoObject(innermost(issue)) ? "must be an object" : shorten(first.message)
  return `${path === "" ? "the parameters" : shorten(path)} ${what}`
}

/**
 * Decodes parameters: error 107 with a sentence that names what is wrong.
 *
 * @internal
 */
export const decode = <A, I>(schema: Schema.Schema<A, I>) => {
  const parse = Schema.decodeUnknownEither(schema)
  return (params: unknown): Either.Either<A, ProtocolError> =>
    Predicate.isRecord(params)
      ? Either.mapLeft(parse(params), (error) => badRequest(sentence(error.issue)))
      : Either.left(badRequest("the parameters must be a JSON object"))
}

/** @internal */
export const present = (value: string | undefined): string | undefined => value === "" ? undefined : value

/**
 * Ignoring it would do more than what was asked for: to all connections of the user.
 *
 * @internal
 */
export const unsupported = (field: string, value: string | undefined): Effect.Effect<void, ProtocolError> =>
  value === undefined || value === ""
    ? Effect.void
    : notAvailable(`${field} is not supported`)

const fromBase64 = (field: string, encoded: string): Either.Either<unknown, ProtocolError> =>
  Encoding.decodeBase64(encoded).pipe(
    Either.flatMap((bytes) =>
      Either.try(() => JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as unknown)
    ),
    Either.mapLeft(() => badRequest(`${field} must be JSON text in base64`))
  )

/**
 * `undefined` if neither is there.
 *
 * @internal
 */
export const jsonOf = (
  field: string,
  plain: unknown,
  encoded: string | undefined
): Either.Either<unknown, ProtocolError> =>
  encoded === undefined || encoded === "" ? Either.right(plain) : fromBase64(`b64${field}`, encoded)

interface Publishing {
  readonly data?: unknown
  readonly b64data?: string | undefined
  readonly tags?: Readonly<Record<string, string>> | undefined
  readonly skip_history?: boolean | undefined
  readonly idempotency_key?: string | undefined
  readonly version?: number | undefined
  readonly version_epoch?: string | undefined
}

/** @internal */
export const publishing = (
  request: Publishing
): Effect.Effect<{ readonly data: unknown; readonly options: PublishOptions }, ProtocolError> =>
  Effect.gen(function*() {
    const data = yield* jsonOf("data", request.data, request.b64data)
    if (data === undefined) return yield* badRequest("data is missing")
    return {
      data,
      options: {
        tags: request.tags,
        skipHistory: request.skip_history,
        idempotencyKey: present(request.idempotency_key),
        version: request.version === 0 ? undefined : request.version,
        versionEpoch: present(request.version_epoch)
      }
    }
  })

/** @internal */
export const since = (
  position: { readonly offset?: number | undefined; readonly epoch?: string | undefined } | undefined
) => position === undefined ? undefined : { offset: position.offset ?? 0, epoch: position.epoch ?? "" }

/** @internal */
export const expiry = (seconds: number | undefined) => seconds === 0 ? undefined : seconds

interface Value {
  readonly value: boolean
}

/** @internal */
export const override = (
  given: {
    readonly presence?: Value | undefined
    readonly join_leave?: Value | undefined
    readonly force_push_join_leave?: Value | undefined
    readonly force_recovery?: Value | undefined
    readonly force_positioning?: Value | undefined
  } | undefined
): Override | undefined =>
  given && {
    presence: given.presence?.value,
    joinLeave: given.join_leave?.value,
    forcePushJoinLeave: given.force_push_join_leave?.value,
    forceRecovery: given.force_recovery?.value,
    forcePositioning: given.force_positioning?.value
  }
