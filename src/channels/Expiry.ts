/**
 * When what was granted is over. Times are seconds of Unix time.
 *
 * @since 1.0.0
 */

/**
 * Whether what is granted has expired before it began.
 *
 * @internal
 */
export const isOver = (
  { expireAt = Infinity }: { readonly expireAt?: number | undefined },
  unixTime: number
): boolean => expireAt <= unixTime

/**
 * Seconds until something expires, if it does.
 *
 * @internal
 */
export const ttlOf = (expireAt: number | undefined, unixTime: number): number | undefined =>
  expireAt === undefined ? undefined : Math.max(1, Math.ceil(expireAt - unixTime))
