"""The front of the kiosk: kernel, camera and screen joined, each in its own thread.

The Qt thread draws and posts presses; the kernel's thread steps and shows states; the look's thread shows
frames and hints, and hears from the screen when a challenge could be seen. Nobody waits for another.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from typing import Final

from kiosk.app.config import Config
from kiosk.app.wiring import Kiosk
from kiosk.domain.challenge import ChallengeKind
from kiosk.domain.limits import Policy
from kiosk.domain.payment import Approved, Idle, Means, NotSent, Refused, State
from kiosk.domain.receipt import for_qr
from kiosk.ui.bridge import Bridge, Outgoing
from kiosk.ui.view import ChooseLanguage, ChooseReceipt, Closed, Hint, Look, ReceiptKind, ReceiptStatus, Shop
from kiosk.vision.quality import Hint as VisionHint

__all__ = ["Front", "crash_on_bugs", "shop_of"]

MEANS: Final = {"till": (Means.TILL,), "staff": (Means.STAFF,)}
EXIT_BUG: Final = 70
"""EX_SOFTWARE of sysexits.h: the unit restarts, the journal recovers."""


def shop_of(config: Config, policy: Policy | None) -> Shop:
    """What the screens say of this shop and of who provides the payment."""
    languages = (
        config.screen.language,
        *(code for code in ("en", "zh-Hans") if code != config.screen.language),
    )
    return Shop(
        name=config.store.payee,
        mode=config.mode,
        provider=policy.provider if policy else "",
        licence=policy.licence if policy else "",
        means=MEANS[config.screen.another_way],
        receipts=(ReceiptKind.QR,),
        languages=languages,
    )


def crash_on_bugs() -> None:
    """A bug in any thread ends the process: better a restart that recovers than a kiosk that half works."""

    def crash(args: threading.ExceptHookArgs) -> None:
        traceback.print_exception(args.exc_type, args.exc_value, args.exc_traceback, file=sys.stderr)
        os._exit(EXIT_BUG)

    threading.excepthook = crash


class Front:
    """Give it to the bridge as `on_event` (`pressed`), then `start`; `stop` ends the kernel's thread."""

    def __init__(self, kiosk: Kiosk) -> None:
        self.kiosk = kiosk
        self._bridge: Bridge | None = None
        self._state: State = kiosk.kernel.state
        self._language: str = kiosk.base.config.screen.language
        self._thread = threading.Thread(target=kiosk.kernel.run, name="kernel", daemon=True)

    def pressed(self, outgoing: Outgoing) -> None:
        """A press on the screen; on the Qt thread, never waits."""
        match outgoing:
            case ChooseReceipt():
                self._show_receipt()
            case ChooseLanguage(code):
                self._language = code  # the bridge has turned its own page; no payment knows of languages
            case event:
                self.kiosk.kernel.post(event)

    def start(self, bridge: Bridge) -> None:
        """Join the screen and begin to take messages."""
        self._bridge = bridge
        self.kiosk.kernel.on_state = self._show
        self.kiosk.looker.on_frame = bridge.show_frame
        self.kiosk.looker.on_progress = self._show_look
        # Who asked for less motion is not flashed at.
        self.kiosk.looker.kinds = tuple(
            kind for kind in ChallengeKind if kind is not ChallengeKind.FLASH or not bridge.reducedMotion
        )
        bridge.on_shown = self.kiosk.looker.shown
        self.kiosk.kernel.on_policy = self._take_policy
        if self.kiosk.kernel.setting.policy is None:
            bridge.show_closed(Closed.OUT_OF_ORDER)  # until one comes
        self._thread.start()

    def stop(self) -> None:
        """Let the kernel finish what it has in hand."""
        self.kiosk.kernel.stop()
        self._thread.join()

    def _show(self, state: State) -> None:
        self._state = state
        if isinstance(state, Idle):  # a language belongs to one shopper
            self._language = self.kiosk.base.config.screen.language
        failure = self.kiosk.looker.failure or self.kiosk.kernel.failure
        if failure is not None and isinstance(state, Refused | NotSent):
            self.kiosk.base.warn(
                str(failure)
            )  # the shopper reads that nothing was charged; this is for staff
        if self._bridge is not None:
            self._bridge.show(state)

    def _take_policy(self, policy: Policy) -> None:
        if self._bridge is not None:
            self._bridge.show_shop(shop_of(self.kiosk.base.config, policy))
            self._bridge.show_closed(None)

    def _show_look(self, hint: VisionHint | None, progress: float) -> None:
        if self._bridge is not None:
            self._bridge.show_look(Look(Hint(hint.value) if hint else Hint.NONE, progress))

    def _show_receipt(self) -> None:
        state, receipt = self._state, self.kiosk.kernel.last_receipt
        if self._bridge is not None and receipt is not None and isinstance(state, Approved):
            self._bridge.show(state, receipt=ReceiptStatus.QR, qr=for_qr(receipt, language=self._language))
