import { IFF, insideNewNetworkNamespace, linkPayload, NetlinkSocket, NLM_F, RTM } from '@ns/netlink';
import { needs, notRoot } from '@ns/testing';

needs(notRoot)('the example of the README', () => {
  // The example, in a network namespace of its own.
  using socket = insideNewNetworkNamespace(() => NetlinkSocket.open());

  socket.request({
    type: RTM.NEWLINK,
    flags: NLM_F.CREATE | NLM_F.EXCL,
    payload: linkPayload().encode({
      flags: IFF.UP,
      change: IFF.UP,
      attributes: { name: 'br0', info: { kind: 'bridge' } },
    }),
    doing: "create bridge 'br0'",
  });

  const links = socket
    .dump({ type: RTM.GETLINK, payload: linkPayload().encode({}) })
    .map((message) => linkPayload().decode(message.payload));
  const bridge = links.find((link) => link.attributes.name === 'br0');

  expect((bridge?.flags ?? 0) & IFF.UP).toBe(IFF.UP);
});
