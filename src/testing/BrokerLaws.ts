/**
 * The laws of a broker, to check any implementation with.
 *
 * @since 1.0.0
 */
import { hearingLaws } from "./BrokerHearingLaws.js"
import { agreesWithModel } from "./BrokerModel.js"
import { type BrokerLaw, type BrokerLawsOptions, onStage } from "./BrokerStage.js"
import { streamLaws } from "./BrokerStreamLaws.js"
import { versionLaws } from "./BrokerVersionLaws.js"

export type {
  /**
   * A law, as a test to run.
   *
   * @since 1.0.0
   * @category models
   */
  BrokerLaw,
  /**
   * What the laws need to know of a broker's surroundings.
   *
   * @since 1.0.0
   * @category models
   */
  BrokerLawsOptions
} from "./BrokerStage.js"

/**
 * The laws of a broker, as data for any test runner. Each uses channels of its own, so they may share one broker. Where
 * `wait` moves a clock that they share, they must not run at the same time.
 *
 * @since 1.0.0
 * @category testing
 */
export const laws = <R = never>(options: BrokerLawsOptions<R>): ReadonlyArray<BrokerLaw<R>> => {
  const on = onStage(options)
  return [...hearingLaws(on), ...streamLaws(on), ...versionLaws(on), agreesWithModel(options)]
}
