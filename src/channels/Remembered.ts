/**
 * What was computed last.
 *
 * @since 1.0.0
 */

/**
 * Computes again only for something else than the last time: who publishes much does so many times in a row.
 *
 * @internal
 */
export const remembered = <A, B>(compute: (of: A) => B): (of: A) => B => {
  let last: { readonly of: A; readonly is: B } | undefined
  return (of) => {
    if (last === undefined || last.of !== of) last = { of, is: compute(of) }
    return last.is
  }
}
