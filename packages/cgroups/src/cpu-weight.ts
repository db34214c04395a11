/* v1's cpu.shares (2..262144, default 1024) and v2's cpu.weight (1..10000, default 100). The first conversion in use
   was linear over the ranges and made of the default 1024 a weight of 39, so that v2 containers lost against everything else.
   The curve below, agreed on by the runtimes in 2025, goes through (2, 1), (1024, 100) and (262144, 10000). */

/** cgroup v2 weight for Docker's and v1's shares. */
export function sharesToWeight(shares: number): number {
  const l = Math.log2(Math.min(Math.max(shares, 2), 262_144));
  return Math.min(Math.max(Math.ceil(10 ** ((l * l + 125 * l) / 612 - 7 / 34)), 1), 10_000);
}

/** v1 shares for a cgroup v2 weight: the inverse. */
export function weightToShares(weight: number): number {
  const l = (-125 + Math.sqrt(125 ** 2 + 4 * (612 * Math.log10(weight) + 126))) / 2;
  return Math.min(Math.max(Math.round(2 ** l), 2), 262_144);
}
