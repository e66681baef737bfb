/**
 * Who is registered as a node, by the clock of Redis.
 *
 * @since 1.0.0
 */
import { define, type RedisScript } from "./RedisScripts.js"

/**
 * Renews leases of `ARGV[1]` milliseconds for the nodes in the rest of `ARGV`. Says how many of them were not registered,
 * and all whose lease is not over. Those whose lease is over are removed, some at a time.
 *
 * @internal
 */
export const renew: RedisScript<{ readonly added: number; readonly found: ReadonlyArray<string> }> = define({
  name: "look which nodes there are",
  lua: `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = tonumber(ARGV[1])
local added = 0
for i = 2, #ARGV do added = added + redis.call('ZADD', KEYS[1], now + lease, ARGV[i]) end
local over = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 100)
if #over > 0 then redis.call('ZREM', KEYS[1], unpack(over)) end
if #ARGV > 1 and redis.call('PTTL', KEYS[1]) < lease then redis.call('PEXPIRE', KEYS[1], math.ceil(lease)) end
return {added, redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%.0f', now), '+inf')}
`,
  decode: (reply) => {
    const [added, found] = reply as readonly [number, ReadonlyArray<string>]
    return { added, found }
  }
})

/**
 * Removes a node.
 *
 * @internal
 */
export const leave: RedisScript<void> = define({
  name: "leave the other nodes",
  lua: "return redis.call('ZREM', KEYS[1], ARGV[1])",
  decode: () => undefined
})
