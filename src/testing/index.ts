/**
 * A kit to test applications of the hub without sockets and without waiting for time.
 *
 * @since 1.0.0
 */
export * as BrokerLaws from "./BrokerLaws.js"
export * from "./Chaos.js"
export * as HubModel from "./HubModel.js"
export * as HubTest from "./HubTest.js"
export { type Law, LawBroken, type LawOptions } from "./Law.js"
export * as PresenceLaws from "./PresenceLaws.js"
export * as TestTransport from "./TestTransport.js"
