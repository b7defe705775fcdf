"""What stands on receipts, one table: a column a language, and no language lacks a line.

A text that is missing is an error before anything runs: every language fills every field of `Texts`.
Short words, because 32 columns is all that a 58 mm printer has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["LANGUAGES", "Texts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """All words of one language. `mirrored`: it is written from right to left."""

    mirrored: bool = False

    # titles, by `Outcome`
    approved: str
    offline: str
    declined: str
    reversed: str
    not_final: str
    refunded: str
    voided: str
    offline_declined: str

    # what stands under a title
    copy: str
    demo: str
    test: str
    training: str
    about_offline: str
    about_declined: str
    about_reversed: str
    about_not_final: str
    about_refunded: str
    about_voided: str
    about_offline_declined: str

    # labels
    total: str
    refund: str
    paid: str
    left: str
    order: str
    time: str
    terminal: str
    payer: str
    refunded_to: str
    approval: str
    reference: str
    attempt: str
    number: str
    code: str
    provider: str
    licence: str

    # the close of a day
    close: str
    comparison: str
    balanced: str
    not_balanced: str
    batch: str
    payments: str
    offlines: str
    reversals: str
    refunds: str
    kiosk: str
    acquirer: str
    receipts: str
    differences: str


LANGUAGES: Final[Mapping[str, Texts]] = {
    "en": Texts(
        approved="PAYMENT APPROVED",
        offline="PAID OFFLINE",
        declined="DECLINED - NOTHING CHARGED",
        reversed="REVERSED - NOTHING CHARGED",
        not_final="NOT FINAL - DO NOT PAY AGAIN",
        refunded="REFUND",
        voided="VOID - PAYMENT CANCELLED",
        offline_declined="OFFLINE SALE DECLINED",
        copy="* COPY *",
        demo="*** DEMO: NOTHING REAL IS CHARGED ***",
        test="*** TEST: NOTHING REAL IS CHARGED ***",
        training="*** TRAINING: NOTHING REAL IS CHARGED ***",
        about_offline="Taken without a connection; your account is charged when there is one.",
        about_declined="You may pay this another way.",
        about_reversed="You may pay this again.",
        about_not_final="We are checking. Keep this slip.",
        about_refunded="It is paid back to the account that it came from.",
        about_voided="The whole amount goes back.",
        about_offline_declined="FOR STAFF. The goods were handed over and the account was not charged. "
        "The order stays paid at the till; take it up with the provider.",
        total="TOTAL",
        refund="REFUND",
        paid="Was paid",
        left="Left of it",
        order="Order",
        time="Time",
        terminal="Terminal",
        payer="Paid by",
        refunded_to="Back to",
        approval="Approval",
        reference="Reference",
        attempt="Attempt",
        number="Refund no.",
        code="Reason",
        provider="Provider",
        licence="Licence",
        close="CLOSE OF DAY",
        comparison="COMPARISON - NOT CLOSED",
        balanced="BALANCED",
        not_balanced="NOT BALANCED",
        batch="Batch",
        payments="Payments",
        offlines="Offline sales",
        reversals="Reversals",
        refunds="Refunds",
        kiosk="kiosk",
        acquirer="acquirer",
        receipts="receipts",
        differences="Differences",
    ),
    "zh-Hans": Texts(
        approved="支付成功",
        offline="离线支付",
        declined="支付未成功 · 未扣款",
        reversed="已撤销 · 未扣款",
        not_final="结果待确认 · 请勿重复支付",
        refunded="退款",
        voided="撤销 · 全额退回",
        offline_declined="离线交易被拒",
        copy="* 副本 *",
        demo="*** 演示：不会真实扣款 ***",
        test="*** 测试：不会真实扣款 ***",
        training="*** 培训：不会真实扣款 ***",
        about_offline="交易时没有网络，恢复连接后再扣款。",
        about_declined="您可以用其他方式支付。",
        about_reversed="您可以重新支付。",
        about_not_final="正在核实，请保留此小票。",
        about_refunded="款项退回原付款账户。",
        about_voided="款项全额退回原付款账户。",
        about_offline_declined="店员联。商品已交付，但账户未扣款。收银机上该订单仍为已支付，请与服务商联系处理。",
        total="合计",
        refund="退款",
        paid="原支付",
        left="可退余额",
        order="订单号",
        time="时间",
        terminal="终端号",
        payer="付款人",
        refunded_to="退至",
        approval="授权号",
        reference="参考号",
        attempt="交易号",
        number="退款次序",
        code="原因",
        provider="服务商",
        licence="许可证号",
        close="日结",
        comparison="对账 · 未结",
        balanced="账目相符",
        not_balanced="账目不符",
        batch="批次",
        payments="支付",
        offlines="离线支付",
        reversals="撤销",
        refunds="退款",
        kiosk="本机",
        acquirer="收单方",
        receipts="小票",
        differences="差异",
    ),
    "ar": Texts(
        mirrored=True,
        approved="تمت الموافقة على الدفع",
        offline="دفع دون اتصال",
        declined="مرفوض - لم يُخصم شيء",
        reversed="ملغى - لم يُخصم شيء",
        not_final="غير نهائي - لا تدفع مرة أخرى",
        refunded="استرداد",
        voided="إلغاء الدفع",
        offline_declined="رُفض بيع دون اتصال",
        copy="* نسخة *",
        demo="*** عرض: لا يُخصم مبلغ حقيقي ***",
        test="*** اختبار: لا يُخصم مبلغ حقيقي ***",
        training="*** تدريب: لا يُخصم مبلغ حقيقي ***",
        about_offline="تم البيع دون اتصال؛ يُخصم المبلغ من حسابك عند عودة الاتصال.",
        about_declined="يمكنك الدفع بطريقة أخرى.",
        about_reversed="يمكنك الدفع من جديد.",
        about_not_final="نتحقق من النتيجة. احتفظ بهذا الإيصال.",
        about_refunded="يُعاد المبلغ إلى الحساب الذي دُفع منه.",
        about_voided="يُعاد المبلغ كاملًا.",
        about_offline_declined="للموظفين. سُلّمت البضاعة ولم يُخصم المبلغ من الحساب. "
        "يبقى الطلب مدفوعًا في نقطة البيع؛ راجعوا مزوّد الخدمة.",
        total="المجموع",
        refund="الاسترداد",
        paid="المدفوع",
        left="المتبقي منه",
        order="الطلب",
        time="الوقت",
        terminal="الجهاز",
        payer="الدافع",
        refunded_to="يُعاد إلى",
        approval="الموافقة",
        reference="المرجع",
        attempt="المحاولة",
        number="رقم الاسترداد",
        code="السبب",
        provider="المزوّد",
        licence="الترخيص",
        close="إقفال اليوم",
        comparison="مقارنة - لم يُقفل",
        balanced="متوازن",
        not_balanced="غير متوازن",
        batch="الدفعة",
        payments="المدفوعات",
        offlines="مبيعات دون اتصال",
        reversals="الإلغاءات",
        refunds="الاستردادات",
        kiosk="الجهاز",
        acquirer="المستحوذ",
        receipts="الإيصالات",
        differences="الفروق",
    ),
}
"""BCP 47 tag -> its words."""
